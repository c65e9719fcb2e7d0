//! One open socket: it sends events and pings, and ignores what it receives.

use std::{error::Error, pin::pin, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use futures_util::{FutureExt, SinkExt};
use queue::Item;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::error::{CapacityError, Error as ProtocolError};

use crate::admission::Admission;

/// How often the peer is pinged. nginx cuts a silent socket after 60 s.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long the pong may take.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send a message. A peer that does not take it is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(35);
/// How long the peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest frame that a client may send, in bytes.
const MAX_FRAME: usize = 4 * 1024;
/// The read buffer of each socket, in bytes. Idle sockets hold one too, and all it receives is a pong.
const READ_BUFFER: usize = 256;
/// How many bytes of messages are collected before they are written.
const WRITE_BUFFER: usize = 16 * 1024;
/// The most bytes of messages that wait to be written: a little more than the longest message.
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
            Self::GoingAway => (close_code::AWAY, "the server is going away, connect again"),
            Self::OriginNotAllowed => (close_code::POLICY, "this origin is not allowed"),
            Self::BadQuery => (
                close_code::POLICY,
                "client is 16 to 64 characters of A-Z a-z 0-9 _ -, since is a whole number",
            ),
            Self::TooManySockets => (close_code::AGAIN, "too many sockets, try again later"),
            Self::FrameTooLong => (close_code::SIZE, "a frame may be up to 4 KiB"),
            Self::NotText => (close_code::INVALID, "text must be UTF-8"),
            Self::ProtocolBroken => (close_code::PROTOCOL, "not the WebSocket protocol"),
        };
        CloseFrame {
            code,
            reason: reason.into(),
        }
    }
}

/// Sets the limits of a socket that is about to be opened.
pub(crate) fn configure(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
}

/// Serves a socket until either side closes it, or until `shutdown`.
pub(crate) async fn serve(
    socket: &mut WebSocket,
    admission: &mut Admission,
    shutdown: &CancellationToken,
) {
    if let Some(reason) = exchange(socket, admission, shutdown).await {
        close(socket, reason).await;
    }
}

/// Closes a socket and gives the peer a moment to answer, because it loses what it has not read yet when
/// the connection is dropped.
pub(crate) async fn close(socket: &mut WebSocket, reason: CloseReason) {
    let closing = async {
        socket.send(Message::Close(Some(reason.frame()))).await?;
        while let Some(message) = socket.recv().await {
            message?;
        }
        Ok::<_, axum::Error>(())
    };
    // Whether the peer answered or not, the socket ends here.
    timeout(CLOSE_TIMEOUT, closing).await.ok();
}

/// Sends and receives until there is a reason to close. `None` if the peer is gone already.
async fn exchange(
    socket: &mut WebSocket,
    admission: &mut Admission,
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
                // Any frame shows that the peer is there. After a close frame, the next receive
                // sends the answer and returns `None`.
                Some(Ok(_)) => {
                    pong_due = false;
                    ping.as_mut().reset(Instant::now() + PING_INTERVAL);
                }
                Some(Err(error)) => return violation(&error),
            },
            () = &mut ping => {
                if pong_due {
                    return None;
                }
                in_time(socket.send(Message::Ping(Default::default()))).await?;
                pong_due = true;
                ping.as_mut().reset(Instant::now() + PONG_TIMEOUT);
            }
            item = admission.cursor.next() => {
                in_time(send_all(socket, admission, item)).await?;
            }
        }
    }
}

/// Sends `item` and the items that are ready after it, with one flush.
async fn send_all(
    socket: &mut WebSocket,
    admission: &mut Admission,
    item: Item,
) -> Result<(), axum::Error> {
    let mut next = Some(item);
    let mut fed = 0;
    while let Some(item) = next {
        if let Some(message) = message(&item, admission.tells_gaps) {
            fed += message.len();
            socket.feed(Message::Text(message)).await?;
        }
        if fed >= WRITE_BUFFER {
            break;
        }
        next = admission.cursor.next().now_or_never();
    }
    socket.flush().await
}

fn message(item: &Item, tells_gaps: bool) -> Option<Utf8Bytes> {
    match item {
        Item::Entry(entry) => Utf8Bytes::try_from(entry.message.clone()).ok(),
        Item::Gap(seq) => tells_gaps.then(|| format!(r#"{{"type":"gap","seq":{seq}}}"#).into()),
    }
}

/// `None` if the peer did not take the message in time.
async fn in_time(sending: impl Future<Output = Result<(), axum::Error>>) -> Option<()> {
    timeout(SEND_TIMEOUT, sending).await.ok()?.ok()
}

/// Which rule the peer broke. `None` if the error is that it is gone.
fn violation(error: &axum::Error) -> Option<CloseReason> {
    match error.source()?.downcast_ref::<ProtocolError>()? {
        ProtocolError::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some(CloseReason::FrameTooLong)
        }
        ProtocolError::Utf8(_) => Some(CloseReason::NotText),
        ProtocolError::Protocol(_) => Some(CloseReason::ProtocolBroken),
        _ => None,
    }
}
