//! Which pages may open a socket or post a job. A browser sends requests for the pages of any site, and
//! it says which site the page is from.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, StatusCode, header};
use url::Url;

use crate::Problem;

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

/// The page that a request comes from, by the values of three headers. A client that is
/// not a browser sends neither `Origin` nor `Sec-Fetch-Site`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source<'a> {
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
}

impl<'a> Source<'a> {
    /// The page that these headers name.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Self {
        // A header that comes twice or is not text becomes a value that is never allowed.
        let value = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            let first = values.next()?;
            match values.next() {
                None => first.to_str().ok().or(Some("")),
                Some(_) => Some(""),
            }
        };
        Self {
            host: value(header::HOST),
            origin: value(header::ORIGIN),
            fetch_site: value(HeaderName::from_static("sec-fetch-site")),
        }
    }

    /// Whether a browser, if there is one, says that no other site caused the request.
    fn is_own_site(&self) -> bool {
        matches!(self.fetch_site, None | Some("same-origin" | "none"))
    }
}

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

    /// Whether pages of this origin come from `host`.
    fn is_of(&self, host: &str) -> bool {
        let url::Origin::Tuple(scheme, ..) = &self.0 else {
            return false;
        };
        Self::parse(&format!("{scheme}://{host}")).is_some_and(|own| own == *self)
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
    /// Whether a request may be served: it is from no page, from a page of the host that it is for, or
    /// from a page of one of these origins.
    #[must_use]
    pub fn allow(&self, source: &Source<'_>) -> bool {
        match source.origin {
            None => source.is_own_site(),
            // A form that is sent without a script hides its origin, because the page's
            // Referrer-Policy is `no-referrer`. The browser still says that it is the site's own.
            Some("null") => source.fetch_site == Some("same-origin"),
            Some(origin) => Origin::parse(origin).is_some_and(|origin| {
                let is_own = || source.host.is_some_and(|host| origin.is_of(host));
                self.0.contains(&origin) || (source.is_own_site() && is_own())
            }),
        }
    }

    /// Like [`allow`](Self::allow), but names the problem.
    ///
    /// # Errors
    ///
    /// The [`Problem`] to answer with, a 403, if the request may not be served.
    pub fn check(&self, source: &Source<'_>) -> Result<(), Problem> {
        if self.allow(source) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Send it from this site's own page, or from a page whose origin is in ALLOWED_ORIGINS.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allowed(origins: &[&'static str], fetch_sites: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("fib.example:8080"));
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        for site in fetch_sites {
            headers.append("sec-fetch-site", HeaderValue::from_static(site));
        }
        "https://Friend.example/, http://[::1]:8080"
            .parse::<Origins>()
            .unwrap()
            .allow(&Source::of(&headers))
    }

    #[test]
    fn clients_without_a_page_and_pages_of_the_host_and_of_listed_origins_are_allowed() {
        for origins in [
            &[] as &[_],
            &["http://fib.example:8080"],
            &["https://FIB.example:8080"],
            &["https://friend.example"],
            &["https://friend.example:443"],
            &["http://[::1]:8080"],
        ] {
            assert!(allowed(origins, &[]), "{origins:?}");
        }
    }

    #[test]
    fn other_pages_are_not() {
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
            assert!(!allowed(&[origin], &[]), "{origin}");
        }
        assert!(!allowed(
            &["http://fib.example:8080", "http://evil.example"],
            &[]
        ));
    }

    #[test]
    fn what_the_browser_says_about_the_site_counts_too() {
        const OWN: &str = "http://fib.example:8080";
        const FRIEND: &str = "https://friend.example";
        for (origins, sites, expected) in [
            (&[] as &[_], &["same-origin"] as &[_], true),
            (&[], &["none"], true),
            (&[], &["same-site"], false),
            (&[], &["cross-site"], false),
            (&[], &["nonsense"], false),
            (&[], &["none", "cross-site"], false),
            (&[OWN], &["same-origin"], true),
            (&[OWN], &["same-site"], false),
            (&[OWN], &["cross-site"], false),
            (&[FRIEND], &["cross-site"], true),
            (&["http://evil.example"], &["cross-site"], false),
            (&["http://evil.example"], &["same-origin"], false),
            (&["null"], &["same-origin"], true),
            (&["null"], &["cross-site"], false),
            (&["null"], &["none"], false),
        ] {
            assert_eq!(allowed(origins, sites), expected, "{origins:?} {sites:?}");
        }
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

    #[test]
    fn a_source_that_is_not_allowed_gets_403() {
        let mut headers = HeaderMap::new();
        let check = |headers: &HeaderMap| Origins::default().check(&Source::of(headers));
        assert!(check(&headers).is_ok());
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://evil.example"),
        );
        assert_eq!(check(&headers).unwrap_err().status(), StatusCode::FORBIDDEN);
    }
}
