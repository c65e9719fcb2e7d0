//! Which pages may open a socket. A browser opens sockets for the pages of any site, and it always
//! says which site the page is from.

use std::str::FromStr;

use http::{HeaderMap, HeaderValue, header};
use url::Url;

/// An origin: a scheme, a host and a port. An opaque origin, such as that of a file, is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin(url::Origin);

/// A list of origins, separated by commas. It may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

/// The text is not a list of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin, which looks like https://example.org")]
pub struct InvalidOrigin(String);

impl Origin {
    /// Parses an origin as a browser sends it.
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https");
        // An origin has no user, path, query or fragment. The parser adds the path `/`.
        let origin = url.origin().ascii_serialization();
        let is_bare = url.as_str().strip_suffix('/') == Some(origin.as_str());
        (is_web && is_bare).then(|| Self(url.origin()))
    }

    /// The origin of pages that `host` serves over the same scheme as this one.
    fn with_host(&self, host: &HeaderValue) -> Option<Self> {
        let url::Origin::Tuple(scheme, ..) = &self.0 else {
            return None;
        };
        Self::parse(&format!("{scheme}://{}", host.to_str().ok()?))
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(|origin| Origin::parse(origin).ok_or_else(|| InvalidOrigin(origin.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Origins {
    /// Whether a request with these headers may open a socket: its origin, if it names one, is the
    /// host that it asks or one of these.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => origin
                .to_str()
                .ok()
                .and_then(Origin::parse)
                .is_some_and(|origin| self.0.contains(&origin) || is_own(&origin, headers)),
            (Some(_), Some(_)) => false,
        }
    }
}

/// Whether pages of this origin come from the host that the request asks.
fn is_own(origin: &Origin, headers: &HeaderMap) -> bool {
    headers
        .get(header::HOST)
        .and_then(|host| origin.with_host(host))
        .is_some_and(|own| own == *origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("fib.example:8080"));
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        "https://Friend.example/, http://[::1]:8080"
            .parse::<Origins>()
            .unwrap()
            .allow(&headers)
    }

    #[test]
    fn clients_without_a_page_and_pages_of_the_host_and_of_listed_origins_may_open_a_socket() {
        for origins in [
            &[] as &[_],
            &["http://fib.example:8080"],
            &["https://FIB.example:8080"],
            &["https://friend.example"],
            &["https://friend.example:443"],
            &["http://[::1]:8080"],
        ] {
            assert!(allowed(origins), "{origins:?}");
        }
    }

    #[test]
    fn other_pages_may_not() {
        for origin in [
            "null",
            "",
            "http://fib.example",
            "http://fib.example:8081",
            "http://evil.example",
            "file://fib.example:8080",
            "http://fib.example:8080.evil.example",
            "http://fib.example:8080/path",
            "http://user@fib.example:8080",
            "http://friend.example",
            "fib.example:8080",
            "http://a b",
        ] {
            assert!(!allowed(&[origin]), "{origin}");
        }
        assert!(!allowed(&[
            "http://fib.example:8080",
            "http://evil.example"
        ]));
    }

    #[test]
    fn an_empty_list_is_valid_and_has_no_origin() {
        for text in ["", " ", ","] {
            assert_eq!(text.parse::<Origins>(), Ok(Origins::default()), "{text:?}");
        }
    }

    #[test]
    fn a_list_with_anything_but_origins_is_refused() {
        for text in [
            "nonsense",
            "null",
            "file:///tmp",
            "data:text/plain,x",
            "ftp://x.example",
            "https://x.example/path",
            "https://x.example?query",
            "https://x.example, nonsense",
        ] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }
}
