//! The role of the websocket service: it reads events and can do nothing else.

use prometheus_client::registry::Registry;
use protocol::{Audience, event::Kind};

use crate::log::{Cursor, Log};
#[cfg(feature = "jetstream")]
use crate::{
    Driver,
    jetstream::{self, ConnectError, JetStreamOptions},
};

/// Reads the events of the last ten minutes, through any number of cursors.
#[derive(Debug, Clone)]
pub struct Reader {
    log: Log,
    #[cfg(feature = "jetstream")]
    connections: Option<jetstream::Connections>,
}

/// The log has not found its own end yet, so a cursor that starts "from now on" could miss an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has not been read yet")]
pub struct NotReady;

impl Reader {
    /// A reader over JetStream, as the queue's user `websocket`. It connects in the background, and
    /// again whenever the connection is lost.
    ///
    /// Cancel safe: it does not wait for the queue.
    ///
    /// # Errors
    ///
    /// If `options` can never lead to a connection, such as an invalid address.
    #[cfg(feature = "jetstream")]
    pub async fn connect(options: &JetStreamOptions) -> Result<(Self, Driver), ConnectError> {
        let (log, connections, driver) = jetstream::read(options).await?;
        let connections = Some(connections);
        Ok((Self { log, connections }, driver))
    }

    /// Shows in `registry` what the log holds and how far its readers are.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.log.clone()));
        #[cfg(feature = "jetstream")]
        if let Some(connections) = &self.connections {
            registry.register_collector(Box::new(connections.clone()));
        }
    }

    #[cfg(any(feature = "embedded", feature = "custom"))]
    pub(crate) fn of(log: Log) -> Self {
        Self {
            log,
            #[cfg(feature = "jetstream")]
            connections: None,
        }
    }

    /// A cursor over the events that are for `audiences` and of a `wanted` kind. It starts after the
    /// place `since`, or else with the next event that is published.
    ///
    /// # Errors
    ///
    /// [`NotReady`] until the reader has been connected once.
    pub fn cursor(
        &self,
        audiences: &[Audience],
        wanted: fn(Kind) -> bool,
        since: Option<u64>,
    ) -> Result<Cursor, NotReady> {
        self.log.cursor(audiences, wanted, since).ok_or(NotReady)
    }
}
