//! The route `/ws`, and the tasks of all open sockets.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use hyper_util::rt::TokioIo;
use protocol::Problem;
use queue::Reader;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, Metrics,
    admission::{Admissions, Refusal, not_ready},
    close::CloseReason,
    drain::Drain,
    events,
    frame_length::FrameLengths,
    metrics::Kind,
    request::Request,
    socket::Socket,
};

/// The open sockets, and everything that opening one more takes.
#[derive(Debug, Clone)]
pub struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admissions: Admissions,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    drain: Drain,
    frame_lengths: FrameLengths,
}

impl Sockets {
    /// Sockets over `reader`, until `shutdown`.
    #[must_use]
    pub fn new(
        reader: Reader,
        config: Config,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) -> Self {
        let metrics = Arc::new(metrics);
        let drain = Drain::new(Duration::from_secs(config.drain_s), shutdown);
        Self(Arc::new(Inner {
            admissions: Admissions::new(reader, config, Arc::clone(&metrics)),
            metrics,
            tasks: TaskTracker::new(),
            drain,
            frame_lengths: FrameLengths::new(),
        }))
    }

    /// The routes `/ws` and `/events`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/ws", get(open))
            .with_state(self.clone())
            .merge(events::routes(
                self.0.admissions.clone(),
                self.0.drain.clone(),
            ))
    }

    /// Waits until every socket is closed. The server has stopped by then, so no new one is opened.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

async fn open(State(sockets): State<Sockets>, mut request: HttpRequest) -> Response {
    let Ok(response) = create_response_with_body(&request, Body::empty) else {
        return not_an_upgrade();
    };
    let query = request.uri().query().unwrap_or_default();
    // The cursor is made before the response, so that a client misses nothing from the moment that
    // its socket is open.
    let admission =
        match sockets
            .0
            .admissions
            .admit(Kind::WebSocket, request.headers(), Request::parse(query))
        {
            Err(Refusal::NotReady) => return not_ready(),
            // The socket is opened and closed at once: a browser shows a page the code of a close, but not
            // the status of an HTTP response.
            Err(Refusal::OriginNotAllowed) => Err(CloseReason::OriginNotAllowed),
            Err(Refusal::BadRequest) => Err(CloseReason::BadQuery),
            Err(Refusal::TooMany) => Err(CloseReason::TooManySockets),
            Ok(admission) => Ok((admission, sockets.0.drain.place())),
        };
    let upgrade = hyper::upgrade::on(&mut request);
    let frame_length = sockets.0.frame_lengths.next();
    let metrics = Arc::clone(&sockets.0.metrics);
    sockets.0.tasks.spawn(async move {
        let connection = match upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "connection lost before it was a socket"),
        };
        let mut socket = Socket::new(connection, frame_length, metrics).await;
        match admission {
            Ok((mut admission, mut place)) => socket.serve(&mut admission, &mut place).await,
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
