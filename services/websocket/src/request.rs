//! What a socket asks for in its URL.

use pipeline::{Audience, ClientToken, EventKind};
use serde::Deserialize;

/// `client` and `since` of `/ws?client=TOKEN&since=SEQ`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Request {
    client: Option<ClientToken>,
    pub(crate) since: Option<u64>,
}

impl Request {
    /// Reads a query; `None` when it is not one of ours.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        serde_urlencoded::from_str(query).ok()
    }

    /// Whether the socket speaks the plain protocol: one message for each job that is done.
    pub(crate) fn is_bare(&self) -> bool {
        self.client.is_none()
    }

    /// Whose events the socket gets.
    pub(crate) fn audiences(&self) -> Vec<Audience> {
        self.client
            .iter()
            .cloned()
            .map(Audience::Client)
            .chain([Audience::Public])
            .collect()
    }

    /// Which events the socket gets.
    pub(crate) fn wanted(&self) -> fn(EventKind) -> bool {
        if self.is_bare() {
            |kind| {
                matches!(
                    kind,
                    EventKind::Part | EventKind::Result | EventKind::Failed
                )
            }
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
    fn a_query_names_a_client_and_a_place() {
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
    fn a_wrong_value_is_refused() {
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
