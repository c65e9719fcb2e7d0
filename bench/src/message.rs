//! The messages that arrive over a socket, as far as this driver reads them. Digits are borrowed from
//! the message and never copied.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use uuid::Uuid;

/// Any message of the protocol. Fields that messages of its `type` do not have are zero or `None`.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    /// The message's place in the log.
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) id: Uuid,
    #[serde(default)]
    pub(crate) n: u64,
    #[serde(default)]
    pub(crate) digits: usize,
    pub(crate) value: Option<&'a str>,
    #[serde(default)]
    pub(crate) parts: usize,
    #[serde(default)]
    pub(crate) index: usize,
    pub(crate) timings: Option<Timings>,
    /// Why the job failed. Unlike digits, it may contain escapes.
    #[serde(borrow)]
    pub(crate) reason: Option<Cow<'a, str>>,
}

/// The one of the server's timings that is reported: how long it computed.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Timings {
    #[serde(rename = "computed")]
    pub(crate) computed_us: u64,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The `type` of a message. It may be anywhere among the fields, but the message is read only up to it:
/// what follows may be half a megabyte of digits, and reading them takes time.
pub(crate) fn kind(text: &str) -> Option<&str> {
    let mut kind = None;
    // The parser reports an error if anything follows the type, because that is not read. So the result is ignored:
    // `kind` alone says whether there is a type.
    Kind(&mut kind)
        .deserialize(&mut serde_json::Deserializer::from_str(text))
        .ok();
    kind
}

/// Reads an object up to its `type`.
struct Kind<'k, 'a>(&'k mut Option<&'a str>);

impl<'a> DeserializeSeed<'a> for Kind<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Kind<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a type")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<&str>()? {
            if name == "type" {
                *self.0 = Some(fields.next_value()?);
                break;
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    /// The same result with its fields in two orders.
    fn results() -> [String; 2] {
        [
            format!(
                r#"{{"type":"result","seq":7,"id":"{ID}","n":10,"digits":2,"value":"55","timings":{{"queued":1,"computed":2}}}}"#
            ),
            format!(
                r#"{{"seq":7,"id":"{ID}","n":10,"timings":{{"queued":1,"computed":2}},"value":"55","digits":2,"type":"result"}}"#
            ),
        ]
    }

    #[test]
    fn a_message_is_read_whatever_the_order_of_its_fields() {
        for text in results() {
            let message = Message::parse(&text).expect("a message");
            assert_eq!(
                (message.kind, message.seq, message.id, message.n),
                ("result", 7, ID, 10),
                "{text}"
            );
            assert_eq!((message.digits, message.value), (2, Some("55")), "{text}");
            assert_eq!(message.timings.expect("timings").computed_us, 2);
        }
    }

    #[test]
    fn the_type_is_found_whatever_the_order_of_the_fields() {
        for text in results() {
            assert_eq!(kind(&text), Some("result"), "{text}");
        }
        let reason = r#"{"seq":7,"reason":"\"type\":\"result\"","type":"failed"}"#;
        assert_eq!(kind(reason), Some("failed"));
    }

    #[test]
    fn nothing_behind_the_type_is_read() {
        assert_eq!(kind(r#"{"seq":7,"type":"part","value":"55"#), Some("part"));
    }

    #[test]
    fn what_is_not_a_message_has_no_type() {
        for text in ["", "F(90)", "[]", r#"{"seq":7}"#, r#"{"type":7}"#] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
