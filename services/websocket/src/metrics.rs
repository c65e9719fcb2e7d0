//! What the websocket server counts and times.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::close::CloseReason;

/// What a server counts and times. Clones share it.
#[derive(Debug, Clone)]
pub struct Metrics {
    websockets: Gauge,
    event_streams: Gauge,
    limit: Gauge<u64, AtomicU64>,
    closes: Family<CloseLabel, Counter>,
    gaps: Counter,
    sent_bytes: Counter,
}

/// What a client reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    Events,
}

/// A client that is connected. It counts as one until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

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
            "Messages sent to clients, without what frames them",
            Unit::Bytes,
            metrics.sent_bytes.clone(),
        );
        metrics
    }

    pub(crate) fn limit(&self, sockets: usize) {
        self.limit.set(sockets as u64);
    }

    pub(crate) fn open(&self, kind: Kind) -> Open {
        let gauge = match kind {
            Kind::WebSocket => &self.websockets,
            Kind::Events => &self.event_streams,
        };
        gauge.inc();
        Open(gauge.clone())
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        let code = reason.code().into();
        self.closes.get_or_create(&CloseLabel { code }).inc();
    }

    pub(crate) fn gap(&self) {
        self.gaps.inc();
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }
}

impl Default for Metrics {
    /// Metrics that nobody sees.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
