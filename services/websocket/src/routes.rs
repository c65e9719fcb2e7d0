//! The route `/ws`: whether a request gets a socket, and the tasks of all open sockets.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use hyper_util::rt::TokioIo;
use protocol::{Problem, Source};
use queue::{NotReady, Reader};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    admission::Admission,
    request::Request,
    socket::{CloseReason, Socket},
};

/// After how many seconds to try again while the log cannot be read.
const RETRY_AFTER_S: u32 = 1;

/// The sockets that are open, and what is needed to open another one.
#[derive(Debug, Clone)]
pub(crate) struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reader: Reader,
    config: Config,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Sockets {
    pub(crate) fn new(reader: Reader, config: Config, shutdown: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_sockets));
        Self(Arc::new(Inner {
            reader,
            config,
            permits,
            tasks: TaskTracker::new(),
            shutdown,
        }))
    }

    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/ws", get(open))
            .with_state(self.clone())
    }

    /// Waits until every socket is closed. The server has stopped by then, so no new one is opened.
    pub(crate) async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// What the socket will hold, or why there is none.
    fn admit(&self, query: &str, headers: &HeaderMap) -> Result<Admission, Refusal> {
        let source = Source::of(headers);
        if !self.0.config.allowed_origins.allow(&source) {
            return Err(Refusal::Close(CloseReason::OriginNotAllowed));
        }
        let request = Request::parse(query).ok_or(Refusal::Close(CloseReason::BadQuery))?;
        let permit = Arc::clone(&self.0.permits)
            .try_acquire_owned()
            .map_err(|_| Refusal::Close(CloseReason::TooManySockets))?;
        let cursor = self
            .0
            .reader
            .cursor(&request.audiences(), request.wanted(), request.since)?;
        Ok(Admission {
            cursor,
            tells_gaps: !request.is_bare(),
            _permit: permit,
        })
    }
}

/// Why a request gets no socket.
enum Refusal {
    /// It is answered with 503.
    NotReady,
    /// The socket is opened and closed at once: a browser shows a page the code of a close, but not the
    /// status of an HTTP response.
    Close(CloseReason),
}

impl From<NotReady> for Refusal {
    fn from(_: NotReady) -> Self {
        Self::NotReady
    }
}

async fn open(State(sockets): State<Sockets>, mut request: HttpRequest) -> Response {
    let Ok(response) = create_response_with_body(&request, Body::empty) else {
        return not_an_upgrade();
    };
    let query = request.uri().query().unwrap_or_default();
    // The cursor is made before the response, so that a client misses nothing from the moment that
    // its socket is open.
    let admission = match sockets.admit(query, request.headers()) {
        Ok(admission) => Ok(admission),
        Err(Refusal::Close(reason)) => Err(reason),
        Err(Refusal::NotReady) => return not_ready(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let shutdown = sockets.0.shutdown.clone();
    sockets.0.tasks.spawn(async move {
        let connection = match upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "connection lost before it was a socket"),
        };
        let mut socket = Socket::new(connection).await;
        match admission {
            Ok(mut admission) => socket.serve(&mut admission, &shutdown).await,
            Err(reason) => socket.close(reason).await,
        }
    });
    response
}

fn not_an_upgrade() -> Response {
    let detail = "Open this address as a WebSocket.";
    let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, detail);
    let mut response = daemon::response(problem.into());
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

fn not_ready() -> Response {
    let detail = "The results cannot be read yet. Connect again in a moment.";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    daemon::response(problem.retry_after_s(RETRY_AFTER_S).into())
}
