//! The subjects of jobs and events.

use protocol::{Audience, Lane};

/// All subjects of events.
pub(crate) const RESULTS: &str = "results.>";

/// The subject of the events for everybody. No token is equal to its last part, which is too short for
/// one.
pub(crate) const PUBLIC_RESULTS: &str = "results.public";

/// The template of the subjects of private channels, which is shown instead of a subject with a token.
pub(crate) const PRIVATE_RESULTS: &str = "results.{client}";

/// The subject that carries the jobs of a lane.
pub(crate) fn of_lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Small => "jobs.small",
        Lane::Large => "jobs.large",
    }
}

/// The subject that carries the events for an audience.
pub(crate) fn of_audience(audience: &Audience) -> String {
    match audience {
        Audience::Public => PUBLIC_RESULTS.into(),
        Audience::Client(token) => format!("results.{}", token.as_str()),
    }
}

/// The audience whose events `subject` carries, or `None` if it carries none.
pub(crate) fn audience(subject: &str) -> Option<Audience> {
    if subject == PUBLIC_RESULTS {
        return Some(Audience::Public);
    }
    let token = subject.strip_prefix("results.")?;
    token.parse().ok().map(Audience::Client)
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
