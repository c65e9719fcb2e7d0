//! Who an event is for: everybody, or the one client that chose a private token.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

/// The fewest characters of a token: fewer could be guessed.
const MIN_LEN: usize = 16;
/// The most characters of a token: it becomes part of a subject.
const MAX_LEN: usize = 64;

/// A private channel's name, 16 to 64 characters of `A-Z a-z 0-9 _ -`.
///
/// Who knows it reads the channel, so its `Debug` form hides it from logs.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientToken(Arc<str>);

/// The text is not a client token.
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

/// Whom an event is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Every socket.
    Public,
    /// The sockets that named this token.
    Client(ClientToken),
}

/// The last part of the public subject. No token can equal it: it is too short.
const PUBLIC: &str = "public";

impl Audience {
    /// The audience of a job: its client, or else everybody.
    #[must_use]
    pub fn of(client: Option<&ClientToken>) -> Self {
        client.cloned().map_or(Self::Public, Self::Client)
    }

    /// The subject that carries the events of this audience.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Public => format!("results.{PUBLIC}"),
            Self::Client(token) => format!("results.{}", token.as_str()),
        }
    }

    /// The audience of a subject; `None` when it is not one of ours.
    pub(crate) fn of_subject(subject: &str) -> Option<Self> {
        match subject.strip_prefix("results.")? {
            PUBLIC => Some(Self::Public),
            token => token.parse().ok().map(Self::Client),
        }
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
    fn a_subject_names_its_audience_and_back() {
        let client = Audience::Client("0123456789abcdef".parse().unwrap());
        for audience in [Audience::Public, client] {
            assert_eq!(Audience::of_subject(&audience.subject()), Some(audience));
        }
        assert_eq!(Audience::of_subject("jobs.small"), None);
        assert_eq!(Audience::of_subject("results.short"), None);
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token: ClientToken = "0123456789abcdef".parse().unwrap();
        assert!(!format!("{:?}", Audience::Client(token)).contains("0123456789abcdef"));
    }
}
