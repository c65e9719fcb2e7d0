//! Metrics for Prometheus: the registry of a process, and the port that serves it. What a service counts
//! is in the service.

mod process;
mod submissions;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use submissions::Submissions;

use process::Process;

/// The most connections for metrics at a time. One Prometheus needs one.
const MAX_CONNECTIONS: usize = 8;

/// The format that Prometheus asks for first.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The address at which metrics are served.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Address that answers GET /metrics, for Prometheus. It is for the operator alone and must not be
    /// reachable from outside. Without it, no metrics are served.
    #[arg(long, env = "METRICS_LISTEN", value_name = "METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
}

impl Options {
    /// Listens, if there is an address to listen on.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on.
    pub async fn bind(&self) -> anyhow::Result<Option<TcpListener>> {
        let Some(address) = self.metrics_listen else {
            return Ok(None);
        };
        TcpListener::bind(address)
            .await
            .map(Some)
            .with_context(|| format!("METRICS_LISTEN {address}"))
    }
}

/// A registry with what every process reports: its version, and what it uses of its machine.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "fibwire_build",
        "The version of fibwire",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.register_collector(Box::new(Process::starting_now()));
    registry
}

/// Serves `registry` at `/metrics` until `shutdown`, or returns at once if there is no listener.
///
/// # Errors
///
/// If the listener is unusable.
pub async fn serve(
    listener: Option<TcpListener>,
    registry: Registry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(listener) = listener else {
        return Ok(());
    };
    let listen = listener.local_addr().context("address of the metrics")?;
    tracing::info!(%listen, "metrics are served");
    crate::serve(listener, routes(registry), MAX_CONNECTIONS, shutdown).await
}

fn routes(registry: Registry) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .with_state(Arc::new(registry))
}

async fn show(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics not encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn the_port_serves_the_registry_and_nothing_else() {
        let options = Options {
            metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        };
        let listener = options.bind().await.unwrap();
        let address = listener.as_ref().unwrap().local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, registry(), shutdown.clone()));
        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = ask("/metrics").await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert!(answer.contains(CONTENT_TYPE), "{answer}");
        assert!(
            answer.contains("\nfibwire_build_info{version=\""),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        assert!(ask("/").await.starts_with("HTTP/1.0 404 "));
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn without_an_address_nothing_is_served() {
        let listener = Options {
            metrics_listen: None,
        }
        .bind()
        .await
        .unwrap();
        assert!(listener.is_none());
        serve(listener, registry(), CancellationToken::new())
            .await
            .unwrap();
    }
}
