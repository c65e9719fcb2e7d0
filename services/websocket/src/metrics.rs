//! The metrics of the websocket server.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use queue::metrics::seconds;

use crate::close::CloseReason;

/// The metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    websockets: Gauge,
    event_streams: Gauge,
    limit: Gauge<u64, AtomicU64>,
    closes: Family<CloseLabel, Counter>,
    gaps: Counter,
    sent_bytes: Counter,
    delivery: Histogram,
}

/// The kind of connection over which a client reads its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    Events,
}

/// A client that is connected, and what is sent to it. It counts as one until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    metrics: Arc<Metrics>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// There are as many as [`CloseReason`] has codes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    code: u16,
}

impl Metrics {
    /// Metrics that `registry` shows.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let sockets = Family::<KindLabel, Gauge>::default();
        let metrics = Self {
            websockets: sockets.get_or_create_owned(&KindLabel { kind: "websocket" }),
            event_streams: sockets.get_or_create_owned(&KindLabel { kind: "events" }),
            limit: Gauge::default(),
            closes: Family::default(),
            gaps: Counter::default(),
            sent_bytes: Counter::default(),
            delivery: seconds(),
        };
        for reason in CloseReason::ALL {
            let code = reason.code().into();
            drop(metrics.closes.get_or_create(&CloseLabel { code }));
        }
        registry.register(
            "fibwire_sockets",
            "Sockets and event streams that are open",
            sockets,
        );
        registry.register(
            "fibwire_sockets_limit",
            "Sockets and event streams that may be open",
            metrics.limit.clone(),
        );
        registry.register(
            "fibwire_closes",
            "Sockets that the server closed, by the code of the close",
            metrics.closes.clone(),
        );
        registry.register(
            "fibwire_gaps",
            "Times that a client missed events, because they were no longer held",
            metrics.gaps.clone(),
        );
        registry.register_with_unit(
            "fibwire_sent",
            "Messages sent to clients, without their frame headers",
            Unit::Bytes,
            metrics.sent_bytes.clone(),
        );
        registry.register_with_unit(
            "fibwire_delivery",
            "Time from accepting a job until its end was sent to a client that was waiting for it",
            Unit::Seconds,
            metrics.delivery.clone(),
        );
        metrics
    }

    pub(crate) fn limit(&self, sockets: usize) {
        self.limit.set(sockets as u64);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        let code = reason.code().into();
        self.closes.get_or_create(&CloseLabel { code }).inc();
    }

    fn sockets(&self, kind: Kind) -> &Gauge {
        match kind {
            Kind::WebSocket => &self.websockets,
            Kind::Events => &self.event_streams,
        }
    }
}

impl Default for Metrics {
    /// Metrics that nobody sees.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl Open {
    pub(crate) fn new(metrics: Arc<Metrics>, kind: Kind) -> Self {
        metrics.sockets(kind).inc();
        Self { metrics, kind }
    }

    pub(crate) fn gap(&self) {
        self.metrics.gaps.inc();
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.metrics.sent_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn delivered(&self, took: Duration) {
        self.metrics.delivery.observe(took.as_secs_f64());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.sockets(self.kind).dec();
    }
}
