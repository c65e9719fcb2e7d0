//! What a socket sends, as far as it is looked at here. Nothing of it is copied.

use serde::Deserialize;
use uuid::Uuid;

/// Any of the protocol's messages. A field that a type does not have is empty.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(default)]
    pub(crate) id: Uuid,
    #[serde(default)]
    pub(crate) digits: usize,
    pub(crate) value: Option<&'a str>,
    #[serde(default)]
    pub(crate) parts: usize,
    #[serde(default)]
    pub(crate) index: usize,
    pub(crate) timings: Option<Timings>,
}

/// Where the time went, in microseconds.
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
