//! JSON from this project's own types.

use serde::Serialize;

/// Encodes `value` as JSON.
///
/// # Panics
///
/// If `value` has no JSON form, such as a map whose keys are not strings. No type of this crate
/// contains one.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the type has a JSON form")
}
