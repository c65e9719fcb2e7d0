//! The reasons for which the server closes a socket, and their codes.

use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// Why the server closes a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    GoingAway,
    OriginNotAllowed,
    BadQuery,
    TooManySockets,
    FrameTooLong,
    NotText,
    ProtocolBroken,
}

impl CloseReason {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::GoingAway,
        Self::OriginNotAllowed,
        Self::BadQuery,
        Self::TooManySockets,
        Self::FrameTooLong,
        Self::NotText,
        Self::ProtocolBroken,
    ];

    /// The code that the client is sent.
    pub(crate) fn code(self) -> CloseCode {
        self.frame().code
    }

    /// The frame that the client is sent.
    pub(crate) fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::GoingAway => (CloseCode::Away, "the server is going away, connect again"),
            Self::OriginNotAllowed => (CloseCode::Policy, "this origin is not allowed"),
            Self::BadQuery => (
                CloseCode::Policy,
                "client is 16 to 64 characters of A-Z a-z 0-9 _ -, since is a whole number",
            ),
            Self::TooManySockets => (CloseCode::Again, "too many sockets, try again later"),
            Self::FrameTooLong => (CloseCode::Size, "a frame may be up to 4 KiB"),
            Self::NotText => (CloseCode::Invalid, "text must be UTF-8"),
            Self::ProtocolBroken => (CloseCode::Protocol, "not the WebSocket protocol"),
        };
        CloseFrame {
            code,
            reason: reason.into(),
        }
    }
}
