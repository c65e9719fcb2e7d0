//! The subjects of the two streams.

use protocol::{Audience, Lane};

/// All subjects of the stream RESULTS.
pub(super) const RESULTS: &str = "results.>";

/// The last part of the public subject. No token is equal to it, because it is too short for one.
const PUBLIC: &str = "public";

/// The subject that carries the jobs of a lane.
pub(super) fn of_lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Small => "jobs.small",
        Lane::Large => "jobs.large",
    }
}

/// The subject that carries the events for an audience.
pub(super) fn of_audience(audience: &Audience) -> String {
    match audience {
        Audience::Public => format!("results.{PUBLIC}"),
        Audience::Client(token) => format!("results.{}", token.as_str()),
    }
}

/// The audience whose events `subject` carries, or `None` if it carries none.
pub(super) fn audience(subject: &str) -> Option<Audience> {
    match subject.strip_prefix("results.")? {
        PUBLIC => Some(Audience::Public),
        token => token.parse().ok().map(Audience::Client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_its_audience() {
        let client = Audience::Client("0123456789abcdef".parse().unwrap());
        for of in [Audience::Public, client] {
            assert_eq!(audience(&of_audience(&of)), Some(of));
        }
        assert_eq!(audience("jobs.small"), None);
        assert_eq!(audience("results.short"), None);
    }
}
