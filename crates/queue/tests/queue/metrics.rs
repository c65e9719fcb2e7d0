//! The metrics that a role shows to Prometheus.

use prometheus_client::{encoding::text, registry::Registry};
use testkit::eventually;

use crate::stage::Stage;

/// The metrics of one role.
pub(crate) struct Shown(Registry);

impl Shown {
    pub(crate) fn by(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        register(&mut registry);
        Self(registry)
    }

    /// The value of a sample; `None` if it is not shown.
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        let mut text = String::new();
        text::encode(&mut text, &self.0).expect("text");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }

    /// Waits until a sample has this value, or is not shown.
    pub(crate) async fn becomes(&self, sample: &str, value: Option<f64>) {
        eventually(&format!("{sample} {value:?}"), async || {
            (self.value(sample) == value).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_a_queue_that_is_away_are_not_shown() {
    let mut stage = Stage::jetstream().await;
    let worker = Shown::by(|registry| stage.worker.register(registry));
    let reader = Shown::by(|registry| stage.reader.register(registry));
    let known = [
        (&worker, r#"fibwire_jobs_waiting{lane="small"}"#),
        (&worker, r#"fibwire_jobs_in_progress{lane="large"}"#),
        (&worker, r#"fibwire_oldest_job_age_seconds{lane="small"}"#),
        (&reader, "fibwire_log_bytes"),
    ];
    for (shown, sample) in known {
        shown.becomes(sample, Some(0.0)).await;
    }
    for (shown, connections) in [(&worker, 1.0), (&reader, 2.0)] {
        let connected = shown.value("fibwire_queue_connected");
        assert_eq!(connected, Some(1.0));
        let made = shown.value("fibwire_queue_connections_total");
        assert_eq!(made, Some(connections));
    }
    stage.server().kill();
    for (shown, sample) in known {
        shown.becomes(sample, None).await;
        shown.becomes("fibwire_queue_connected", Some(0.0)).await;
    }
}
