//! One open socket: events out, pings out, nothing in.

use std::{error::Error, pin::pin, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use futures_util::{FutureExt, SinkExt};
use pipeline::Item;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::error::{CapacityError, Error as ProtocolError};

use crate::sockets::Admitted;

/// How often the peer is asked whether it is there. nginx cuts a silent socket after 60 s.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long its answer may take.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one message may take to leave: a peer that takes none of it is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(35);
/// How long the peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest frame that a client may send, in bytes. It has nothing to say.
const MAX_FRAME: usize = 4 * 1024;
/// What is read at once, in bytes, and held by each socket however idle: a pong and some more.
const READ_BUFFER: usize = 256;
/// From how many bytes on messages are written before there are more.
const WRITE_BUFFER: usize = 16 * 1024;
/// The most bytes of messages that wait to be written: the longest message and some more.
const MAX_WRITE_BUFFER: usize = 4 * 1024 * 1024;

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
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::GoingAway => (close_code::AWAY, "the server is going away, come back"),
            Self::OriginNotAllowed => (close_code::POLICY, "this origin is not allowed"),
            Self::BadQuery => (
                close_code::POLICY,
                "client is 16 to 64 characters of A-Z a-z 0-9 _ -, since a whole number",
            ),
            Self::TooManySockets => (close_code::AGAIN, "too many sockets, try again later"),
            Self::FrameTooLong => (close_code::SIZE, "a frame may have 4 KiB"),
            Self::NotText => (close_code::INVALID, "text is UTF-8"),
            Self::ProtocolBroken => (close_code::PROTOCOL, "not the WebSocket protocol"),
        };
        CloseFrame {
            code,
            reason: reason.into(),
        }
    }
}

/// Sets the limits of a socket to be.
pub(crate) fn configure(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
}

/// Serves a socket until it is closed by either side or by `shutdown`.
pub(crate) async fn serve(
    socket: &mut WebSocket,
    admitted: &mut Admitted,
    shutdown: &CancellationToken,
) {
    if let Some(reason) = exchange(socket, admitted, shutdown).await {
        close(socket, reason).await;
    }
}

/// Closes a socket and gives the peer a moment to agree, since what it did not read yet is lost
/// when the connection goes.
pub(crate) async fn close(socket: &mut WebSocket, reason: CloseReason) {
    let closing = async {
        socket.send(Message::Close(Some(reason.frame()))).await?;
        while let Some(message) = socket.recv().await {
            message?;
        }
        Ok::<_, axum::Error>(())
    };
    // Either way the socket ends here.
    timeout(CLOSE_TIMEOUT, closing).await.ok();
}

/// Sends and receives until there is a reason to close, or `None` when there is nobody left to
/// tell.
async fn exchange(
    socket: &mut WebSocket,
    admitted: &mut Admitted,
    shutdown: &CancellationToken,
) -> Option<CloseReason> {
    let mut ping = pin!(sleep_until(Instant::now() + PING_INTERVAL));
    let mut pong_due = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Some(CloseReason::GoingAway),
            received = socket.recv() => match received {
                None => return None,
                // Any frame shows that the peer is there; what it says does not matter. After a
                // close the next receive sends the answer and finds the end.
                Some(Ok(_)) => {
                    pong_due = false;
                    ping.as_mut().reset(Instant::now() + PING_INTERVAL);
                }
                Some(Err(error)) => return offence(&error),
            },
            () = &mut ping => {
                if pong_due {
                    return None;
                }
                in_time(socket.send(Message::Ping(Default::default()))).await?;
                pong_due = true;
                ping.as_mut().reset(Instant::now() + PONG_TIMEOUT);
            }
            item = admitted.cursor.next() => {
                in_time(send_all(socket, admitted, item)).await?;
            }
        }
    }
}

/// Sends `item` and whatever else is there already, with one flush.
async fn send_all(
    socket: &mut WebSocket,
    admitted: &mut Admitted,
    item: Item,
) -> Result<(), axum::Error> {
    let mut next = Some(item);
    let mut fed = 0;
    while let Some(item) = next {
        if let Some(message) = message(&item, admitted.tells_gaps) {
            fed += message.len();
            socket.feed(Message::Text(message)).await?;
        }
        if fed >= WRITE_BUFFER {
            break;
        }
        next = admitted.cursor.next().now_or_never();
    }
    socket.flush().await
}

fn message(item: &Item, tells_gaps: bool) -> Option<Utf8Bytes> {
    match item {
        Item::Entry(entry) => Utf8Bytes::try_from(entry.message.clone()).ok(),
        Item::Gap(seq) => tells_gaps.then(|| format!(r#"{{"type":"gap","seq":{seq}}}"#).into()),
    }
}

/// `None` when the peer does not take what it is sent.
async fn in_time(sending: impl Future<Output = Result<(), axum::Error>>) -> Option<()> {
    timeout(SEND_TIMEOUT, sending).await.ok()?.ok()
}

/// What the peer did wrong, if it is still there to be told.
fn offence(error: &axum::Error) -> Option<CloseReason> {
    match error.source()?.downcast_ref::<ProtocolError>()? {
        ProtocolError::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some(CloseReason::FrameTooLong)
        }
        ProtocolError::Utf8(_) => Some(CloseReason::NotText),
        ProtocolError::Protocol(_) => Some(CloseReason::ProtocolBroken),
        _ => None,
    }
}
