//! What happens to a job, as it is published and as a browser reads it.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::json;

/// A value of more digits than this is sent in parts, after a preview.
pub const LONG_DIGITS: usize = 1024 * 1024;
/// The most digits in one part.
pub const PART_DIGITS: usize = 512 * 1024;

/// Something that happened to a job. Its JSON is the message that a socket sends, but for `seq`,
/// which is the event's place in the log and known only there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A calculator has been at the job for a while.
    Started {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// How many times the job was delivered, this time included.
        attempt: u64,
    },
    /// The ends of a long result, ahead of it.
    Preview {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// How many decimal digits F(n) has.
        digits: u64,
        /// The most significant digits.
        first: String,
        /// The least significant digits.
        last: String,
    },
    /// How far a long computation is.
    Progress {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// The part of the work that is done, from 0 to 1.
        fraction: f64,
    },
    /// A piece of a long result.
    Part {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// Which piece; 0 is the most significant.
        index: u32,
        /// How many pieces there are.
        parts: u32,
        /// At most [`PART_DIGITS`] decimal digits.
        value: String,
    },
    /// Done; nothing follows.
    Result {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// How many decimal digits F(n) has.
        digits: u64,
        /// F(n) in decimal, unless it went out in parts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// How many parts went out before, if the result is a long one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<u32>,
        /// Where the time went.
        timings: Timings,
    },
    /// Done without a value; nothing follows.
    Failed {
        /// The job.
        id: Uuid,
        /// Its n.
        n: u64,
        /// A sentence for whoever asked.
        reason: String,
    },
}

/// Where a job's time went, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From accepted to taken by a calculator.
    #[serde(rename = "queued")]
    pub queued_us: u64,
    /// From taken to computed.
    #[serde(rename = "computed")]
    pub computed_us: u64,
}

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// See [`Event::Started`].
    Started,
    /// See [`Event::Preview`].
    Preview,
    /// See [`Event::Progress`].
    Progress,
    /// See [`Event::Part`].
    Part,
    /// See [`Event::Result`].
    Result,
    /// See [`Event::Failed`].
    Failed,
}

/// How every event's JSON begins; the type's name follows.
const HEAD: &[u8] = br#"{"type":""#;

impl Event {
    /// The event's type.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Started { .. } => EventKind::Started,
            Self::Preview { .. } => EventKind::Preview,
            Self::Progress { .. } => EventKind::Progress,
            Self::Part { .. } => EventKind::Part,
            Self::Result { .. } => EventKind::Result,
            Self::Failed { .. } => EventKind::Failed,
        }
    }

    /// The name under which the event is stored once, however often it is published: the job's
    /// id, a type and an index.
    ///
    /// A failure goes by the name of the result that it stands for, so that a job has one end even
    /// when a calculator died between publishing the result and acknowledging the job.
    pub(crate) fn name(&self) -> Name {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 10 000"
        )]
        match *self {
            Self::Started { id, attempt, .. } => Name(id, "started", attempt),
            Self::Preview { id, .. } => Name(id, "preview", 0),
            Self::Progress { id, fraction, .. } => Name(id, "progress", (fraction * 1e4) as u64),
            Self::Part { id, index, .. } => Name(id, "part", index.into()),
            Self::Result { id, .. } | Self::Failed { id, .. } => Name(id, "result", 0),
        }
    }

    /// The event as it is published.
    pub(crate) fn encode(&self) -> Bytes {
        json::encode(self).into()
    }
}

/// What makes an event that event; see [`Event::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name(Uuid, &'static str, u64);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id, kind, index) = self;
        write!(f, "{id}.{kind}.{index}")
    }
}

/// Splits a published event into its type and the message that a socket sends, with `seq` put in
/// behind the type; `None` for anything else.
///
/// The digits are copied and not parsed: a result may hold a megabyte of them.
pub(crate) fn frame(payload: &[u8], seq: u64) -> Option<(EventKind, Bytes)> {
    let name = payload.strip_prefix(HEAD)?;
    let name = &name[..name.iter().position(|&byte| byte == b'"')?];
    let kind = match name {
        b"started" => EventKind::Started,
        b"preview" => EventKind::Preview,
        b"progress" => EventKind::Progress,
        b"part" => EventKind::Part,
        b"result" => EventKind::Result,
        b"failed" => EventKind::Failed,
        _ => return None,
    };
    let (head, rest) = payload.split_at(HEAD.len() + name.len() + 1);
    let seq = format!(r#","seq":{seq}"#);
    let mut message = BytesMut::with_capacity(payload.len() + seq.len());
    message.put(head);
    message.put(seq.as_bytes());
    message.put(rest);
    Some((kind, message.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_event() -> Vec<Event> {
        let (id, n) = (Uuid::nil(), 10);
        let timings = Timings {
            queued_us: 1,
            computed_us: 2,
        };
        vec![
            Event::Started { id, n, attempt: 1 },
            Event::Preview {
                id,
                n,
                digits: 2,
                first: "55".into(),
                last: "55".into(),
            },
            Event::Progress {
                id,
                n,
                fraction: 0.25,
            },
            Event::Part {
                id,
                n,
                index: 0,
                parts: 1,
                value: "55".into(),
            },
            Event::Result {
                id,
                n,
                digits: 2,
                value: Some("55".into()),
                parts: None,
                timings,
            },
            Event::Failed {
                id,
                n,
                reason: "no".into(),
            },
        ]
    }

    #[test]
    fn a_frame_is_the_event_with_its_place_in_the_log() {
        for event in every_event() {
            let (kind, message) = frame(&event.encode(), 7).unwrap();
            assert_eq!(kind, event.kind());
            let mut expected = serde_json::to_value(&event).unwrap();
            expected["seq"] = 7.into();
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&message).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn a_result_reads_as_the_protocol_says() {
        let (_, message) = frame(&every_event()[4].encode(), 7).unwrap();
        assert_eq!(
            message,
            r#"{"type":"result","seq":7,"id":"00000000-0000-0000-0000-000000000000","n":10,"digits":2,"value":"55","timings":{"queued":1,"computed":2}}"#
        );
    }

    #[test]
    fn what_is_no_event_has_no_frame() {
        for payload in [
            "",
            "{}",
            "55",
            r#"{"type":"surprise","n":1}"#,
            r#"{"type":"result"#,
        ] {
            assert_eq!(frame(payload.as_bytes(), 1), None, "{payload}");
        }
    }

    #[test]
    fn a_result_and_a_failure_of_one_job_are_stored_under_one_name() {
        let events = every_event();
        assert_eq!(events[4].name(), events[5].name());
        let names: std::collections::HashSet<_> = events[..5].iter().map(Event::name).collect();
        assert_eq!(names.len(), 5);
    }
}
