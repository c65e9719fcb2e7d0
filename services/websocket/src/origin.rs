//! Which pages may open a socket. A browser sends cookies and reaches private networks for any
//! page, but it always says which page asks.

use std::{convert::Infallible, str::FromStr};

use http::{HeaderMap, HeaderValue, Uri, header};

/// An origin as a browser sends it, in lower case: a scheme, a host, and a port that is not the
/// scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().trim_end_matches('/').to_ascii_lowercase()))
    }
}

/// Whether a request with these headers may open a socket: its Origin, if it has one, is the host
/// that it asks or one of `allowed`.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[Origin]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => is_same_host(origin, headers) || is_listed(origin, allowed),
        (Some(_), Some(_)) => false,
    }
}

fn is_same_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Ok(origin) = Uri::try_from(origin.as_bytes()) else {
        return false;
    };
    match (
        origin.scheme_str(),
        origin.authority(),
        headers.get(header::HOST),
    ) {
        (Some("http" | "https"), Some(asking), Some(asked)) => asked
            .as_bytes()
            .eq_ignore_ascii_case(asking.as_str().as_bytes()),
        _ => false,
    }
}

fn is_listed(origin: &HeaderValue, allowed: &[Origin]) -> bool {
    allowed
        .iter()
        .any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.0.as_bytes()))
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
        is_allowed(&headers, &["https://Friend.example/".parse().unwrap()])
    }

    #[test]
    fn no_page_the_hosts_own_page_and_a_listed_page_may() {
        for origins in [
            &[] as &[_],
            &["http://fib.example:8080"],
            &["https://FIB.example:8080"],
            &["https://friend.example"],
        ] {
            assert!(allowed(origins), "{origins:?}");
        }
    }

    #[test]
    fn any_other_page_may_not() {
        for origin in [
            "null",
            "",
            "http://fib.example",
            "http://fib.example:8081",
            "http://evil.example",
            "file://fib.example:8080",
            "http://fib.example:8080.evil.example",
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
}
