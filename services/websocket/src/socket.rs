//! One open socket: it sends events and pings, and ignores what it receives.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::CapacityError,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    Metrics, admission::Admission, close::CloseReason, drain::Place, frame_length::FrameLength,
    outgoing::Outgoing,
};

/// How long a peer may be silent before it is pinged. nginx cuts a silent socket after 60 s.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a peer may then go on being silent.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes of messages are sent between two pings, at most. The pongs show that a slow peer is
/// still reading, although much of what was sent to it waits in buffers on the way.
const PING_BYTES: usize = 32 * 1024;
/// How long a peer may take nothing of what is sent to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(35);
/// How long the peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest frame that a client may send, in bytes.
const MAX_RECEIVED_FRAME: usize = 4 * 1024;
/// The read buffer of each socket, in bytes. Idle sockets hold one too, and all it receives is a pong.
const READ_BUFFER: usize = 256;
/// A socket over a connection on which the opening handshake is done.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: WebSocketStream<S>,
    /// The longest frame that is sent. A longer message is sent in fragments. As many bytes of frames are
    /// collected before they are written.
    frame_length: FrameLength,
    metrics: Arc<Metrics>,
}

/// An event on a socket.
enum Turn {
    Received(Option<Result<Message, Error>>),
    Flushed(Result<(), Error>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) async fn new(
        connection: S,
        frame_length: FrameLength,
        metrics: Arc<Metrics>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(frame_length.bytes())
            // Frames that were just collected, and answers to the peer's pings.
            .max_write_buffer_size(4 * frame_length.bytes())
            .max_message_size(Some(MAX_RECEIVED_FRAME))
            .max_frame_size(Some(MAX_RECEIVED_FRAME));
        Self {
            stream: WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await,
            frame_length,
            metrics,
        }
    }

    /// Serves the socket until either side closes it, or until the server shuts down and it is the turn
    /// of this client to leave.
    pub(crate) async fn serve(&mut self, admission: &mut Admission, place: &mut Place) {
        let reason = tokio::select! {
            biased;
            () = place.left() => Some(CloseReason::GoingAway),
            reason = self.exchange(admission) => reason,
        };
        if let Some(reason) = reason {
            self.close(reason).await;
        }
    }

    /// Closes the socket and gives the peer a moment to answer, because it loses what it has not read
    /// yet when the connection is dropped.
    pub(crate) async fn close(&mut self, reason: CloseReason) {
        self.metrics.closed(reason);
        let closing = async {
            self.stream.close(Some(reason.frame())).await?;
            while let Some(message) = self.stream.next().await {
                message?;
            }
            Ok::<_, Error>(())
        };
        // Whether the peer answered or not, the socket ends here.
        timeout(CLOSE_TIMEOUT, closing).await.ok();
    }

    /// Sends and receives until there is a reason to close. `None` if the peer is gone already.
    async fn exchange(&mut self, admission: &mut Admission) -> Option<CloseReason> {
        let mut outgoing = Outgoing::default();
        let mut silence = pin!(sleep_until(Instant::now() + PING_INTERVAL));
        let mut stall = pin!(sleep_until(Instant::now() + STALL_TIMEOUT));
        let mut pong_due = false;
        // Whether something was handed to the socket that is not written yet.
        let mut sending = false;
        loop {
            tokio::select! {
                biased;
                () = &mut stall, if sending => return None,
                turn = self.turn(sending) => match turn {
                    Turn::Received(None) => return None,
                    // Any frame shows that the peer is there. After a close frame, the next receive
                    // sends the answer and returns `None`.
                    Turn::Received(Some(Ok(_))) => {
                        pong_due = false;
                        silence.as_mut().reset(Instant::now() + PING_INTERVAL);
                    }
                    Turn::Received(Some(Err(error))) => return violation(&error),
                    Turn::Flushed(flushed) => {
                        flushed.ok()?;
                        for sending in outgoing.written() {
                            admission.delivered(sending);
                        }
                        sending = self.hand_over(&mut outgoing, admission)?;
                        stall.as_mut().reset(Instant::now() + STALL_TIMEOUT);
                    }
                },
                () = &mut silence => {
                    if pong_due {
                        return None;
                    }
                    self.hand_over_one(Message::Ping(Default::default()))?;
                    if !sending {
                        sending = true;
                        stall.as_mut().reset(Instant::now() + STALL_TIMEOUT);
                    }
                    pong_due = true;
                    silence.as_mut().reset(Instant::now() + PONG_TIMEOUT);
                }
                item = admission.cursor.next(), if !sending => {
                    outgoing.begin(admission.message(&item), admission.sending(&item));
                    sending = self.hand_over(&mut outgoing, admission)?;
                    stall.as_mut().reset(Instant::now() + STALL_TIMEOUT);
                }
            }
        }
    }

    /// Receives, and if `sending` also writes what was handed over. Cancel safe: nothing is lost when
    /// this future is dropped.
    async fn turn(&mut self, sending: bool) -> Turn {
        poll_fn(|cx| {
            if let Poll::Ready(received) = self.stream.poll_next_unpin(cx) {
                return Poll::Ready(Turn::Received(received));
            }
            if sending && let Poll::Ready(flushed) = self.stream.poll_flush_unpin(cx) {
                return Poll::Ready(Turn::Flushed(flushed));
            }
            Poll::Pending
        })
        .await
    }

    /// Hands over frames for one write: the next fragment of a long message, or all the short messages
    /// that are ready. Everything from before must have been flushed. Returns whether there were any.
    fn hand_over(&mut self, outgoing: &mut Outgoing, admission: &mut Admission) -> Option<bool> {
        let mut bytes = 0;
        let limit = self.frame_length.bytes();
        while bytes < limit {
            if let Some(frame) = outgoing.next_frame(limit) {
                bytes += frame.len();
                self.hand_over_one(Message::Frame(frame))?;
                if outgoing.is_ping_due(PING_BYTES) {
                    self.hand_over_one(Message::Ping(Default::default()))?;
                }
            } else if let Some(item) = admission.cursor.next().now_or_never() {
                outgoing.begin(admission.message(&item), admission.sending(&item));
            } else {
                break;
            }
        }
        admission.sent(bytes);
        Some(bytes > 0)
    }

    /// `None` if the peer is gone.
    fn hand_over_one(&mut self, message: Message) -> Option<()> {
        self.stream.start_send_unpin(message).ok()
    }
}

/// Which rule the peer broke. `None` if the error is that it is gone.
fn violation(error: &Error) -> Option<CloseReason> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseReason::FrameTooLong),
        Error::Utf8(_) => Some(CloseReason::NotText),
        Error::Protocol(_) => Some(CloseReason::ProtocolBroken),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
