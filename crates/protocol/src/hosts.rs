//! Which hosts a server answers for. Another site can make its own host name resolve to the server's
//! address, so that its pages have the same origin as the server. But each of their requests still names
//! that host.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, StatusCode, Uri, header, uri::Authority};
use url::Host;

use crate::Problem;

/// The hosts that a server answers for, without ports. It has at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

/// The text is not a list of hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHosts {
    /// An element is not a host.
    #[error(
        "{0:?} is not a host without a port, which looks like fib.example.org, 192.0.2.1 or [::1]"
    )]
    NotAHost(String),
    /// The list has no element, so that no request could be answered.
    #[error("the list of hosts is empty")]
    Empty,
}

impl Hosts {
    /// The hosts of a server that listens on `ip`: the names of the machine for itself, and the
    /// address.
    #[must_use]
    pub fn of_listener(ip: IpAddr) -> Self {
        let own = match ip {
            IpAddr::V4(ip) => Host::<String>::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        };
        let mut hosts = ["localhost", "127.0.0.1", "[::1]"]
            .map(str::to_owned)
            .to_vec();
        // An unspecified address stands for every address of the machine and is not one itself.
        if !ip.is_unspecified() && !hosts.contains(&own.to_string()) {
            hosts.push(own.to_string());
        }
        Self(hosts)
    }

    /// Checks which host a request with this target and these headers is for.
    ///
    /// # Errors
    ///
    /// The [`Problem`] to answer with: 400 if the request does not name one host, 421 if it names one
    /// that is not in the list.
    pub fn check(&self, target: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
            _ => None,
        };
        let Some(host) = host else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "Send one Host header that names the host in the request's URL.",
            ));
        };
        // A target that is a whole URL takes precedence over the header.
        let host = target.authority().unwrap_or(&host);
        if self.contain(host) {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "Use a host that this server answers for. Its operator lists them in ALLOWED_HOSTS.",
            ))
        }
    }

    fn contain(&self, authority: &Authority) -> bool {
        let has_user = authority.as_str().contains('@');
        let is = |host: &String| host.eq_ignore_ascii_case(authority.host());
        !has_user && self.0.iter().any(is)
    }
}

impl FromStr for Hosts {
    type Err = InvalidHosts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hosts = text
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| match Host::parse(host) {
                // To the parser, an asterisk is a letter like any other, but whoever writes one means any
                // host.
                Ok(parsed) if !host.contains('*') => Ok(parsed.to_string()),
                _ => Err(InvalidHosts::NotAHost(host.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(InvalidHosts::Empty);
        }
        Ok(Self(hosts))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn status(hosts: &Hosts, named: &[&'static str]) -> u16 {
        let mut headers = HeaderMap::new();
        for host in named {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        match hosts.check(&Uri::from_static("/fib"), &headers) {
            Ok(()) => 200,
            Err(problem) => problem.status().as_u16(),
        }
    }

    #[test]
    fn a_server_answers_for_its_own_machine_and_address_on_any_port() {
        let hosts = Hosts::of_listener("192.0.2.7".parse().unwrap());
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.0.2.7:1",
        ] {
            assert_eq!(status(&hosts, &[host]), 200, "{host}");
        }
    }

    #[test]
    fn other_hosts_get_421() {
        for listen in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
            let hosts = Hosts::of_listener(listen.parse().unwrap());
            for host in [
                "evil.test:8080",
                "localhost.evil.test",
                "localhost@evil.test",
                "evil.test@localhost",
                "192.0.2.7",
                "0.0.0.0:8080",
                "[::]",
                "[::2]:8080",
            ] {
                assert_eq!(status(&hosts, &[host]), 421, "{host} on {listen}");
            }
        }
    }

    #[test]
    fn a_request_for_no_host_or_for_several_gets_400() {
        let hosts = Hosts::of_listener("127.0.0.1".parse().unwrap());
        for named in [
            &[] as &[_],
            &[""],
            &["local host"],
            &["http://localhost"],
            &["localhost", "localhost"],
        ] {
            assert_eq!(status(&hosts, named), 400, "{named:?}");
        }
    }

    #[test]
    fn the_host_in_a_whole_url_takes_precedence() {
        let hosts = Hosts::of_listener("127.0.0.1".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        for (target, allowed) in [
            ("http://localhost:8080/", true),
            ("http://evil.test/", false),
        ] {
            let checked = hosts.check(&Uri::from_static(target), &headers);
            assert_eq!(checked.is_ok(), allowed, "{target}");
        }
    }

    #[test]
    fn a_list_replaces_the_default() {
        let hosts: Hosts = "Fib.Example.org, 192.0.2.1 ,[2001:DB8::1],"
            .parse()
            .unwrap();
        for (host, expected) in [
            ("fib.example.org:8080", 200),
            ("FIB.EXAMPLE.ORG", 200),
            ("192.0.2.1", 200),
            ("[2001:db8::1]:80", 200),
            ("localhost", 421),
            ("example.org", 421),
        ] {
            assert_eq!(status(&hosts, &[host]), expected, "{host}");
        }
    }

    #[test]
    fn a_list_with_anything_but_hosts_or_with_nothing_is_refused() {
        for text in [
            "",
            " , ",
            "localhost:8080",
            "http://localhost",
            "*",
            "*.example.org",
            "a b",
            "::1",
            "localhost/path",
            "user@localhost",
            "localhost, [::1",
        ] {
            assert!(text.parse::<Hosts>().is_err(), "{text:?}");
        }
    }
}
