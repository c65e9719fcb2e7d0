//! Health checks: the route that answers them, and the probe, which is a command of each service's own
//! binary, so that no image needs an HTTP client.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{Router, http::StatusCode, routing::get};

/// How long a probe waits for each step.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /healthz`: 200 if `is_ready`, otherwise 503.
pub fn routes(is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router {
    let answer = move || {
        let status = if is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        std::future::ready(status)
    };
    Router::new().route("/healthz", get(answer))
}

/// Asks the process that listens on `listen` on this machine whether it is ready.
///
/// # Errors
///
/// If it does not answer within 2 seconds, or answers that it is not ready.
pub fn probe(listen: SocketAddr) -> anyhow::Result<()> {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).context("connection")?;
    stream
        .set_read_timeout(Some(PROBE_TIMEOUT))
        .context("time-out")?;
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .context("request")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("answer")?;
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        status => bail!("not ready: status {}", status.unwrap_or("missing")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_probe_tells_whether_a_process_is_ready() {
        let ready = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let is_ready = Arc::clone(&ready);
        let server = tokio::spawn(crate::serve(
            listener,
            routes(move || is_ready.load(Ordering::Relaxed)),
            4,
            shutdown.clone(),
        ));
        let probed = || tokio::task::spawn_blocking(move || probe(address).is_ok());
        assert!(!probed().await.unwrap());
        ready.store(true, Ordering::Relaxed);
        assert!(probed().await.unwrap());
        shutdown.cancel();
        server.await.unwrap().unwrap();
        assert!(!probed().await.unwrap());
    }
}
