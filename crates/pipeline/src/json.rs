//! JSON out of our own types.

use serde::Serialize;

/// `value` as JSON. For types whose every value has a JSON form: no maps, no foreign `Serialize`.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(json) => json,
        Err(error) => unreachable!("a value without a JSON form: {error}"),
    }
}
