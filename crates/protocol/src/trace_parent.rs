//! Which trace a message belongs to, and which span sent it.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
    str::FromStr,
};

/// The length in bytes of a `traceparent` of version 0, as text.
const LEN: usize = 55;
/// The version that this program writes.
const VERSION: u8 = 0;
/// The one flag that is known: whether the sender records its spans.
const SAMPLED: u8 = 0b1;

/// The `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: NonZeroU128,
    parent_id: NonZeroU64,
    sampled: bool,
}

/// The text is not a valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The name of the header that carries it, over HTTP and over the queue.
    pub const HEADER: &'static str = "traceparent";

    /// The length of its form in bytes.
    pub const BYTES: usize = 25;

    /// The span `parent_id` of the trace `trace_id`.
    #[must_use]
    pub fn new(trace_id: NonZeroU128, parent_id: NonZeroU64, sampled: bool) -> Self {
        Self {
            trace_id,
            parent_id,
            sampled,
        }
    }

    /// The beginning of a trace that nobody records.
    #[must_use]
    pub fn random() -> Self {
        Self {
            trace_id: NonZeroU128::new(fastrand::u128(1..)).expect("at least 1"),
            parent_id: NonZeroU64::new(fastrand::u64(1..)).expect("at least 1"),
            sampled: false,
        }
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// The span that sent the message.
    #[must_use]
    pub fn parent_id(self) -> NonZeroU64 {
        self.parent_id
    }

    /// Whether the sender records its spans, and asks the receiver to do so too.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.sampled
    }

    /// Trace, span and flags in bytes, in big-endian order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id.get().to_be_bytes());
        bytes[16..24].copy_from_slice(&self.parent_id.get().to_be_bytes());
        bytes[24] = self.flags();
        bytes
    }

    /// Reads the bytes that [`to_bytes`](Self::to_bytes) wrote. `None` if it cannot have written them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk()?;
        let (parent_id, [flags]) = rest.split_first_chunk()? else {
            return None;
        };
        Self::of(
            u128::from_be_bytes(*trace_id),
            u64::from_be_bytes(*parent_id),
            *flags,
        )
    }

    fn of(trace_id: u128, parent_id: u64, flags: u8) -> Option<Self> {
        Some(Self {
            trace_id: NonZeroU128::new(trace_id)?,
            parent_id: NonZeroU64::new(parent_id)?,
            // A flag that this version does not define must not be passed on.
            sampled: flags & SAMPLED != 0,
        })
    }

    fn flags(self) -> u8 {
        if self.sampled { SAMPLED } else { 0 }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        let mut text = [b'-'; LEN];
        write_hex(&[VERSION], &mut text[..2]);
        write_hex(&bytes[..16], &mut text[3..35]);
        write_hex(&bytes[16..24], &mut text[36..52]);
        write_hex(&bytes[24..], &mut text[53..]);
        f.write_str(str::from_utf8(&text).expect("digits and dashes"))
    }
}

/// Writes `bytes` as digits. Every message has some, and `write!` takes many times as long.
fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).ok_or(InvalidTraceParent)
    }
}

fn parse(text: &[u8]) -> Option<TraceParent> {
    let (known, rest) = text.split_at_checked(LEN)?;
    let mut fields = known.split(|byte| *byte == b'-');
    let version: u8 = hex(fields.next()?, 2)?.try_into().ok()?;
    // A later version may add fields to those of the first. The last version is invalid.
    let rest_is_valid = match version {
        0 => rest.is_empty(),
        255 => false,
        _ => rest.first().is_none_or(|byte| *byte == b'-'),
    };
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?.try_into().ok()?;
    let flags = hex(fields.next()?, 2)?.try_into().ok()?;
    if !rest_is_valid || fields.next().is_some() {
        return None;
    }
    TraceParent::of(trace_id, parent_id, flags)
}

/// The value of `digits` lowercase hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let is_lowercase = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.iter().all(is_lowercase) {
        return None;
    }
    u128::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}

/// Identifies a trace. Its text has 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

impl TraceId {
    /// The id as a number.
    #[must_use]
    pub fn get(self) -> NonZeroU128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_names_trace_span_and_whether_it_is_sampled() {
        for (flags, sampled) in [("00", false), ("01", true)] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let parent: TraceParent = text.parse().unwrap();
            assert_eq!(parent.trace_id().to_string(), TRACE);
            assert_eq!(format!("{:016x}", parent.parent_id()), SPAN);
            assert_eq!(parent.is_sampled(), sampled);
            assert_eq!(parent.to_string(), text);
        }
    }

    #[test]
    fn flags_that_are_not_known_are_not_passed_on() {
        for (flags, passed_on) in [("ff", "01"), ("02", "00"), ("fe", "00")] {
            let parent: TraceParent = format!("00-{TRACE}-{SPAN}-{flags}").parse().unwrap();
            let expected = format!("00-{TRACE}-{SPAN}-{passed_on}");
            assert_eq!(parent.to_string(), expected, "{flags}");
        }
    }

    #[test]
    fn a_later_version_may_have_more_fields() {
        let first: TraceParent = format!("00-{TRACE}-{SPAN}-01").parse().unwrap();
        for later in [
            format!("01-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"),
        ] {
            assert_eq!(later.parse(), Ok(first), "{later}");
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        let zeros = "0".repeat(32);
        for text in [
            "".to_owned(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{SPAN}-{TRACE}-01"),
            format!("0-0{TRACE}-{SPAN}-01"),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0é"),
        ] {
            let parsed: Result<TraceParent, _> = text.parse();
            assert_eq!(parsed, Err(InvalidTraceParent), "{text}");
        }
    }

    #[test]
    fn a_traceparent_is_the_same_after_it_was_bytes() {
        let parent = TraceParent::random();
        assert_eq!(TraceParent::from_bytes(parent.to_bytes()), Some(parent));
        assert_eq!(TraceParent::from_bytes([0; TraceParent::BYTES]), None);
        assert_ne!(parent, TraceParent::random());
    }
}
