//! The message that a socket is sending, in frames. It is shared with the log and with other sockets,
//! and each frame is a slice of it.

use std::mem;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

use crate::admission::Sending;

/// The rest of the message that a socket is sending.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    rest: Bytes,
    /// Whether the rest continues a message of which a frame was taken already.
    is_continued: bool,
    /// How many bytes were taken since a ping was due.
    since_ping: usize,
    /// The records of sending the message.
    sending: Sending,
    /// The same of the messages that were taken whole and are not written yet.
    taken: Vec<Sending>,
}

impl Outgoing {
    /// Continues with `message`, if there is one. The message before must have been taken whole.
    pub(crate) fn begin(&mut self, message: Option<Bytes>, sending: Sending) {
        debug_assert!(self.rest.is_empty(), "a message is sent whole");
        self.is_continued = false;
        self.rest = message.unwrap_or_default();
        self.sending = sending;
    }

    /// The same of the messages that were taken whole, until all frames are written.
    pub(crate) fn written(&mut self) -> Vec<Sending> {
        mem::take(&mut self.taken)
    }

    /// Takes the next frame, whose payload has at most `max_len` bytes. `None` at the end of the
    /// message.
    pub(crate) fn next_frame(&mut self, max_len: usize) -> Option<Frame> {
        if self.rest.is_empty() {
            return None;
        }
        let payload = self.rest.split_to(max_len.min(self.rest.len()));
        let kind = if self.is_continued {
            Data::Continue
        } else {
            Data::Text
        };
        self.is_continued = true;
        self.since_ping += payload.len();
        let is_last = self.rest.is_empty();
        if is_last {
            // Let go of the message: the socket may now wait for long.
            self.rest = Bytes::new();
            self.taken.push(mem::take(&mut self.sending));
        }
        Some(Frame::message(payload, OpCode::Data(kind), is_last))
    }

    /// Whether `interval` bytes were taken since this last returned true.
    pub(crate) fn is_ping_due(&mut self, interval: usize) -> bool {
        let is_due = self.since_ping >= interval;
        if is_due {
            self.since_ping = 0;
        }
        is_due
    }
}
