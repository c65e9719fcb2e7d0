//! The events of a job, as a calculator publishes them and as a client receives them.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, EnumIter, IntoEnumIterator, IntoStaticStr};
use uuid::Uuid;

use crate::json;

/// A value with more digits than this is sent in parts, after a preview.
pub const LONG_DIGITS: usize = 1024 * 1024;
/// The most digits in one part.
pub const PART_DIGITS: usize = 512 * 1024;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The job.
    pub id: Uuid,
    /// The job's n.
    pub n: u64,
    /// The kind of the event, with its fields.
    #[serde(flatten)]
    pub body: Body,
}

/// One of the things that can happen to a job. [`Kind`] has the same variants without their fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EnumDiscriminants)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum_discriminants(
    name(Kind),
    doc = "The type of an event.",
    derive(Hash, Deserialize, EnumIter, IntoStaticStr),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case")
)]
pub enum Body {
    /// A calculator has been working on the job for a while.
    Started {
        /// How many times the job was delivered, this time included.
        attempt: u64,
    },
    /// The length and the ends of a long result, sent ahead of it.
    Preview {
        /// How many decimal digits F(n) has.
        digits: u64,
        /// The most significant digits.
        first: String,
        /// The least significant digits.
        last: String,
    },
    /// How far a long computation has come.
    Progress {
        /// The share of the work that is done, from 0 to 1.
        fraction: f64,
    },
    /// A piece of a long result.
    Part {
        /// Which piece this is. Piece 0 has the most significant digits.
        index: u32,
        /// How many pieces there are.
        parts: u32,
        /// At most [`PART_DIGITS`] decimal digits.
        value: String,
    },
    /// The job is done. No event follows.
    Result {
        /// How many decimal digits F(n) has.
        digits: u64,
        /// F(n) in decimal, unless it was sent in parts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// How many parts were sent, if the result is a long one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<u32>,
        /// How long the job waited and how long it was computed.
        timings: Timings,
    },
    /// The job ended without a value. No event follows.
    Failed {
        /// A sentence for the person who asked.
        reason: String,
    },
}

/// How long the stages of a job took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From acceptance until a calculator took the job.
    #[serde(rename = "queued")]
    pub queued_us: u64,
    /// From then until the number was computed.
    #[serde(rename = "computed")]
    pub computed_us: u64,
}

/// The payload is not an event.
#[derive(Debug, thiserror::Error)]
#[error("not an event")]
pub struct InvalidEvent(#[source] Option<serde_json::Error>);

impl Event {
    /// The event as it is published: JSON, without the `seq` that a client sees, because a place in
    /// the log is known only to the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        json::encode(self).into()
    }

    /// Identifies the event, so that the log stores it once however often it is published.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        // A failure has the id of the result that it stands for. A job therefore has one end, even
        // if a calculator died after it published the result and before it acknowledged the job.
        let (kind, index) = match self.body {
            Body::Started { attempt } => (Kind::Started, attempt),
            Body::Preview { .. } => (Kind::Preview, 0),
            Body::Progress { fraction } => (Kind::Progress, ten_thousandths(fraction)),
            Body::Part { index, .. } => (Kind::Part, index.into()),
            Body::Result { .. } | Body::Failed { .. } => (Kind::Result, 0),
        };
        MessageId {
            job: self.id,
            kind,
            index,
        }
    }
}

impl Kind {
    /// Whether nothing follows an event of this kind.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Result | Self::Failed)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction is from 0 to 1"
)]
fn ten_thousandths(fraction: f64) -> u64 {
    (fraction * 1e4) as u64
}

/// Identifies an event: the job's id, a kind and an index. Its text is `<id>.<kind>.<index>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    job: Uuid,
    kind: Kind,
    index: u64,
}

impl MessageId {
    /// The length of the id in bytes.
    pub const BYTES: usize = 25;

    /// The id in bytes: the job's id, the number of the kind, and the index in big-endian order.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.job.as_bytes());
        bytes[16] = number(self.kind);
        bytes[17..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// The id that [`to_bytes`](Self::to_bytes) wrote. `None` if there is no such kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (job, rest) = bytes.split_first_chunk()?;
        let (kind, index) = rest.split_first()?;
        Some(Self {
            job: Uuid::from_bytes(*job),
            kind: Kind::iter().find(|known| number(*known) == *kind)?,
            index: u64::from_be_bytes(index.try_into().ok()?),
        })
    }

    /// The job that the event belongs to.
    #[must_use]
    pub fn job(&self) -> Uuid {
        self.job
    }

    /// Whether the event is the end of its job.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.kind.is_end()
    }
}

/// The number of a kind in a [`MessageId`]. These are in files, so a number never changes its meaning.
fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Started => 0,
        Kind::Preview => 1,
        Kind::Progress => 2,
        Kind::Part => 3,
        Kind::Result => 4,
        Kind::Failed => 5,
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: &str = self.kind.into();
        write!(f, "{}.{kind}.{}", self.job, self.index)
    }
}

/// Makes the message that a client receives from a published event, by putting `seq` in front of
/// its fields. Returns the event's kind with it.
///
/// A result may hold a megabyte of digits: they are copied once, and neither decoded nor checked.
///
/// # Errors
///
/// If the payload is not a JSON object with the type of an event, or not UTF-8.
pub fn message(payload: &[u8], seq: u64) -> Result<(Kind, Bytes), InvalidEvent> {
    #[derive(Deserialize)]
    struct Head {
        r#type: Kind,
    }
    // The parser skips the fields that it does not need without checking that they are UTF-8. It is
    // checked here, once for all the sockets that send the message.
    let payload = std::str::from_utf8(payload).map_err(|_| InvalidEvent(None))?;
    let head: Head = serde_json::from_str(payload).map_err(|error| InvalidEvent(Some(error)))?;
    let fields = payload.strip_prefix('{').ok_or(InvalidEvent(None))?;
    let seq = format!(r#"{{"seq":{seq},"#);
    let mut message = BytesMut::with_capacity(seq.len() + fields.len());
    message.put(seq.as_bytes());
    message.put(fields.as_bytes());
    Ok((head.r#type, message.freeze()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn every_event() -> Vec<Event> {
        let timings = Timings {
            queued_us: 1,
            computed_us: 2,
        };
        [
            Body::Started { attempt: 1 },
            Body::Preview {
                digits: 2,
                first: "55".into(),
                last: "55".into(),
            },
            Body::Progress { fraction: 0.25 },
            Body::Part {
                index: 0,
                parts: 1,
                value: "55".into(),
            },
            Body::Result {
                digits: 2,
                value: Some("55".into()),
                parts: None,
                timings,
            },
            Body::Failed {
                reason: "no".into(),
            },
        ]
        .map(|body| Event {
            id: Uuid::nil(),
            n: 10,
            body,
        })
        .into()
    }

    #[test]
    fn a_message_is_the_event_with_its_place_in_the_log() {
        for event in every_event() {
            let (kind, message) = message(&event.encode(), 7).unwrap();
            assert_eq!(kind, Kind::from(&event.body));
            let mut expected = serde_json::to_value(&event).unwrap();
            expected["seq"] = 7.into();
            assert_eq!(serde_json::from_slice::<Value>(&message).unwrap(), expected);
            assert_eq!(serde_json::from_slice::<Event>(&message).unwrap(), event);
        }
    }

    #[test]
    fn a_result_reads_as_the_protocol_says() {
        let (_, message) = message(&every_event()[4].encode(), 7).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&message).unwrap(),
            json!({
                "type": "result", "seq": 7, "id": "00000000-0000-0000-0000-000000000000", "n": 10,
                "digits": 2, "value": "55", "timings": {"queued": 1, "computed": 2},
            })
        );
    }

    #[test]
    fn the_kind_is_found_wherever_the_type_stands() {
        let (kind, message) = message(br#"{"n":1,"value":"type","type":"part"}"#, 7).unwrap();
        assert_eq!(kind, Kind::Part);
        assert_eq!(message, r#"{"seq":7,"n":1,"value":"type","type":"part"}"#);
    }

    #[test]
    fn a_payload_that_is_not_an_event_has_no_message() {
        for payload in [
            "",
            "{}",
            "55",
            r#"["result"]"#,
            r#" {"type":"result"}"#,
            r#"{"type":"surprise","n":1}"#,
            r#"{"type":"result"#,
            r#"{"type":"result"}}"#,
        ] {
            assert!(message(payload.as_bytes(), 1).is_err(), "{payload}");
        }
        let not_text = b"{\"type\":\"part\",\"value\":\"\xff\"}";
        assert!(message(not_text, 1).is_err());
    }

    #[test]
    fn the_result_and_the_failure_of_a_job_have_one_message_id() {
        let events = every_event();
        assert_eq!(events[4].message_id(), events[5].message_id());
        let ids: std::collections::HashSet<_> = events[..5].iter().map(Event::message_id).collect();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_message_id_is_the_same_after_it_was_bytes() {
        for event in every_event() {
            let id = event.message_id();
            assert_eq!(MessageId::from_bytes(&id.to_bytes()), Some(id));
        }
        assert_eq!(MessageId::from_bytes(&[255; MessageId::BYTES]), None);
    }

    #[test]
    fn a_message_id_names_job_kind_and_index() {
        let text = "00000000-0000-0000-0000-000000000000.progress.2500";
        assert_eq!(every_event()[2].message_id().to_string(), text);
    }

    #[test]
    fn a_value_is_long_above_a_mebibyte_and_its_parts_are_half_as_long() {
        assert_eq!((LONG_DIGITS, PART_DIGITS), (1_048_576, 524_288));
    }

    #[test]
    fn results_and_failures_are_ends_and_nothing_else_is() {
        let ends: Vec<_> = Kind::iter().filter(|kind| kind.is_end()).collect();
        assert_eq!(ends, [Kind::Result, Kind::Failed]);
        let id = Uuid::from_u128(7);
        let message_id = |kind| MessageId {
            job: id,
            kind,
            index: 0,
        };
        assert!(Kind::iter().all(|kind| message_id(kind).is_end() == kind.is_end()));
        assert_eq!(message_id(Kind::Result).job(), id);
    }
}
