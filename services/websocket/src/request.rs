//! The query of a request for a socket or an event stream.

use protocol::{Audience, ClientToken, event::Kind};
use serde::Deserialize;

/// The values of `client` and `since` in `/ws?client=TOKEN&since=SEQ`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Request {
    client: Option<ClientToken>,
    pub(crate) since: Option<u64>,
}

impl Request {
    /// Parses a query. `None` if a value is invalid.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        serde_urlencoded::from_str(query).ok()
    }

    /// Whether the socket gets only the broadcast: one message for each public job that is done.
    pub(crate) fn is_bare(&self) -> bool {
        self.client.is_none()
    }

    /// The audiences whose events the socket gets.
    pub(crate) fn audiences(&self) -> Vec<Audience> {
        self.client
            .iter()
            .cloned()
            .map(Audience::Client)
            .chain([Audience::Public])
            .collect()
    }

    /// The kinds of events that the socket gets.
    pub(crate) fn wanted(&self) -> fn(Kind) -> bool {
        if self.is_bare() {
            |kind| kind == Kind::Part || kind.is_end()
        } else {
            |_| true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn a_query_may_name_a_client_and_a_place() {
        let client: ClientToken = TOKEN.parse().unwrap();
        for (query, client, since) in [
            (String::new(), None, None),
            (format!("client={TOKEN}"), Some(client.clone()), None),
            (
                format!("since=7&client={TOKEN}&other=x"),
                Some(client),
                Some(7),
            ),
        ] {
            assert_eq!(
                Request::parse(&query),
                Some(Request { client, since }),
                "{query}"
            );
        }
    }

    #[test]
    fn an_invalid_value_is_refused() {
        for query in [
            "client=",
            "client=short",
            "since=",
            "since=-1",
            "since=x",
            "since=1&since=2",
            "client=%00",
        ] {
            assert_eq!(Request::parse(query), None, "{query}");
        }
    }
}
