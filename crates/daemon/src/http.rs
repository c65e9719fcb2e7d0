//! Serving HTTP within limits.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{self, HeaderValue, StatusCode, header},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use protocol::Problem;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{connection::Connection, files};

/// How long a client may take to send the head of a request, and how long its connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that are in progress at the shutdown may still take.
const DRAIN_LIMIT: Duration = Duration::from_secs(7);
/// How long to wait after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// How many bytes the system may hold for a client that does not read them. Linux doubles this for its
/// own overhead, and says that there is room again when a third of that is free.
const SEND_BUFFER: usize = 64 * 1024;
/// How many file descriptors are set aside for everything but the connections that are served.
const OTHER_FILES: usize = 64;

/// How many connections beyond the limit are answered at a time. Further ones are only closed.
const MAX_REFUSALS: usize = 64;
/// How long a client may take to read that there are too many connections.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The seconds after which to connect again.
const REFUSAL_RETRY_AFTER_S: u32 = 2;

/// Serves `router` until `shutdown`. At most `max_connections` are served at a time, or fewer if the limit of open
/// files does not allow so many. Further ones get 503 and are closed, or are only closed if many come at once.
///
/// The future is boxed so that the server is compiled once, with this crate, and not with each program.
///
/// # Errors
///
/// If the size of the listener's send buffer cannot be set.
pub fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    Box::pin(serve_within(listener, router, max_connections, shutdown))
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // The connections inherit it.
    set_socket_send_buffer_size(&listener, SEND_BUFFER).context("send buffer")?;
    let mut server = Server {
        router,
        places: Arc::new(Semaphore::new(max_places(max_connections))),
        refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        refusal: refusal(),
        connections: JoinSet::new(),
        shutdown,
    };
    server.accept_all(&listener).await;
    drop(listener);
    server.drain().await;
    Ok(())
}

/// Reads the body of a request.
///
/// # Errors
///
/// The [`Problem`] to answer with: 413 if the body is longer than `limit` bytes or breaks off, 408 if it takes too
/// long to come.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match timeout(BODY_TIMEOUT, to_bytes(body, limit)).await {
        Ok(read) => read.map_err(|_| Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_elapsed) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "Send the whole body within 10 seconds.",
        )),
    }
}

/// Converts a [`protocol::Response`] into one of axum's.
#[must_use]
pub fn response(response: protocol::Response) -> http::Response<Body> {
    let mut converted = http::Response::new(Body::from(response.body));
    *converted.status_mut() = response.status;
    let headers = converted.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(response.content_type),
    );
    if let Some(seconds) = response.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    converted
}

/// How many connections may be open, so that the process does not run out of files.
fn max_places(max_connections: usize) -> usize {
    let Some(files) = files::raise_limit() else {
        return max_connections;
    };
    let places = files.saturating_sub(OTHER_FILES).max(1);
    if places < max_connections {
        tracing::warn!(
            places,
            max_connections,
            "the limit of open files allows fewer connections"
        );
    }
    places.min(max_connections)
}

struct Server {
    router: Router,
    /// A permit for each connection that may be open.
    places: Arc<Semaphore>,
    /// A permit for each connection that may be told that there is no place.
    refusals: Arc<Semaphore>,
    refusal: Bytes,
    connections: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Server {
    /// Accepts connections until the shutdown.
    async fn accept_all(&mut self, listener: &TcpListener) {
        let shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(ended) = self.connections.join_next() => check(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream),
                    Err(error) if is_of_the_peer(&error) => {}
                    // Most likely, the system has no file or memory for another connection. Without a pause, the
                    // next attempt would fail in the same way at once.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        timeout(ACCEPT_PAUSE, shutdown.cancelled()).await.ok();
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            // Each message is written as a whole, so waiting for more data would only delay it.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY not set");
            }
            let connection = Connection::new(stream, place);
            let router = self.router.clone();
            let shutdown = self.shutdown.clone();
            self.connections
                .spawn(serve_connection(connection, router, shutdown));
        } else if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.connections
                .spawn(refuse(stream, self.refusal.clone(), permit));
        }
    }

    /// Waits for the requests that are in progress, but not for long.
    async fn drain(&mut self) {
        let drained = timeout(DRAIN_LIMIT, async {
            while let Some(ended) = self.connections.join_next().await {
                check(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!("cut off requests that were still in progress");
            self.connections.shutdown().await;
        }
    }
}

/// Serves the requests of one connection until it ends. At the shutdown it ends after the request that
/// is in progress.
async fn serve_connection(connection: Connection, router: Router, shutdown: CancellationToken) {
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(connection), TowerToHyperService::new(router))
            .with_upgrades()
    );
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Tells a client that there are too many connections.
async fn refuse(mut stream: TcpStream, refusal: Bytes, _permit: OwnedSemaphorePermit) {
    let refusing = async {
        stream.write_all(&refusal).await?;
        stream.shutdown().await?;
        // If the connection were closed with an unread request, the client could lose the answer.
        let mut request = [0; 1024];
        while stream.read(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    if !matches!(timeout(REFUSAL_TIMEOUT, refusing).await, Ok(Ok(()))) {
        tracing::debug!("a client may not know why its connection was closed");
    }
}

/// The whole response that [`refuse`] sends.
fn refusal() -> Bytes {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many connections are open. Connect again in a moment.",
    );
    let body = problem.body();
    let mut response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {}\r\nconnection: close\r\n\r\n",
        Problem::CONTENT_TYPE,
        body.len(),
        REFUSAL_RETRY_AFTER_S,
    )
    .into_bytes();
    response.extend(body);
    response.into()
}

/// Whether only the connection that was about to be accepted is affected.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Logs the panic of a connection. The others go on.
fn check(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "connection failed");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::{get, post};
    use testkit::within;

    use super::*;

    struct Stage {
        address: SocketAddr,
        shutdown: CancellationToken,
        tasks: JoinSet<anyhow::Result<()>>,
    }

    impl Stage {
        async fn start(max_connections: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/", get(async || "here")).route(
                "/read",
                post(async |body: Body| match read_body(body, 4).await {
                    Ok(body) => http::Response::new(Body::from(body)),
                    Err(problem) => response(problem.into()),
                }),
            );
            let shutdown = CancellationToken::new();
            let mut tasks = JoinSet::new();
            tasks.spawn(serve(listener, router, max_connections, shutdown.clone()));
            Self {
                address,
                shutdown,
                tasks,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn stop(mut self) {
            self.shutdown.cancel();
            let ended = within("a server that has ended", self.tasks.join_next()).await;
            ended.unwrap().unwrap().unwrap();
        }
    }

    /// Everything that comes until the server closes the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_whole_head_ends_after_ten_seconds() {
        let stage = Stage::start(10).await;
        for sent in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            let mut stream = stage.connect().await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            let start = tokio::time::Instant::now();
            assert_eq!(rest(&mut stream).await, "", "{sent:?}");
            let waited = start.elapsed().as_secs_f32();
            assert!((9.5..11.0).contains(&waited), "{sent:?} {waited}");
        }
        stage.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_gets_408_after_ten_seconds() {
        let stage = Stage::start(10).await;
        let mut stream = stage.connect().await;
        let request = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n123";
        stream.write_all(request).await.unwrap();
        let start = tokio::time::Instant::now();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(Problem::CONTENT_TYPE), "{answer}");
        let waited = start.elapsed().as_secs_f32();
        assert!((9.5..11.0).contains(&waited), "{waited}");
        stage.stop().await;
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_gets_503_until_there_is_a_place() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let stage = Stage::start(1).await;
        let mut first = stage.connect().await;
        let mut second = stage.connect().await;
        second.write_all(REQUEST).await.unwrap();
        let answer = within("an answer", rest(&mut second)).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 2\r\n"), "{answer}");
        assert!(answer.contains(Problem::CONTENT_TYPE), "{answer}");
        first.write_all(REQUEST).await.unwrap();
        let answer = within("an answer", rest(&mut first)).await;
        assert!(answer.ends_with("here"), "{answer}");
        testkit::eventually("a place", async || {
            let mut stream = stage.connect().await;
            stream.write_all(REQUEST).await.unwrap();
            rest(&mut stream).await.ends_with("here").then_some(())
        })
        .await;
        stage.stop().await;
    }

    #[tokio::test]
    async fn a_shutdown_ends_idle_connections_at_once() {
        let stage = Stage::start(10).await;
        let mut idle = stage.connect().await;
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stage.stop().await;
        within("the end", rest(&mut idle)).await;
    }
}
