//! The name of a private channel.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

/// The fewest characters of a token. A shorter one could be guessed.
const MIN_LEN: usize = 16;
/// The most characters of a token, which becomes part of a subject.
const MAX_LEN: usize = 64;

/// The name of a private channel: 16 to 64 characters of `A-Z a-z 0-9 _ -`.
///
/// Anyone who knows the token can read the channel, so its `Debug` form hides it from logs.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientToken(Arc<str>);

/// The text is not a valid client token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client token is 16 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct InvalidClientToken;

impl ClientToken {
    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ClientToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for ClientToken {
    type Err = InvalidClientToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (MIN_LEN..=MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidClientToken)
        }
    }
}

impl TryFrom<String> for ClientToken {
    type Error = InvalidClientToken;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_16_to_64_characters_of_its_alphabet() {
        for good in ["a".repeat(16), "Z9_-".repeat(16)] {
            assert_eq!(good.parse::<ClientToken>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            &"a".repeat(15),
            &"a".repeat(65),
            "has.a.dot.in.its.middle",
            "sixteen bytes é!",
        ] {
            assert_eq!(bad.parse::<ClientToken>(), Err(InvalidClientToken), "{bad}");
        }
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token: ClientToken = "0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{token:?}"), "ClientToken(…)");
    }
}
