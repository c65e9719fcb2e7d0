//! An event at its place in the log.

use bytes::Bytes;
use protocol::{
    Audience, JobContext,
    event::{self, InvalidEvent, Kind},
};

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The place: larger than that of every earlier event.
    pub seq: u64,
    /// The event's type.
    pub kind: Kind,
    /// The receivers of the event.
    pub audience: Audience,
    /// When the event's job was accepted, and the span that published the event. `None` if its publisher
    /// did not say.
    pub context: Option<JobContext>,
    /// The JSON message for clients, which contains `seq`.
    pub message: Bytes,
}

impl Entry {
    /// Makes an entry from an event as it was published.
    pub(crate) fn parse(
        seq: u64,
        audience: Audience,
        context: Option<JobContext>,
        payload: &[u8],
    ) -> Result<Self, InvalidEvent> {
        let (kind, message) = event::message(payload, seq)?;
        Ok(Self {
            seq,
            kind,
            audience,
            context,
            message,
        })
    }
}
