//! `/ws`: who gets a socket, and all the sockets that are open.

use std::sync::Arc;

use axum::{
    Router,
    extract::{
        RawQuery, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use pipeline::{Cursor, Log, Problem};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Limits, origin,
    request::Request,
    socket::{self, CloseReason},
};

/// After how many seconds to try again while the log cannot be read.
const RETRY_AFTER_S: u32 = 1;

/// The sockets that are open, and what it takes to open one.
#[derive(Debug, Clone)]
pub(crate) struct Sockets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Log,
    limits: Limits,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Sockets {
    pub(crate) fn new(log: Log, limits: Limits, shutdown: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(limits.max_sockets));
        Self(Arc::new(Shared {
            log,
            limits,
            places,
            tasks: TaskTracker::new(),
            shutdown,
        }))
    }

    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/ws", get(open))
            .with_state(self.clone())
    }

    /// Waits until every socket is closed. None is opened once the server has stopped.
    pub(crate) async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The cursor to serve, or the reason for which a socket is closed as soon as it is open: a
    /// browser shows its page the code of a close, but nothing of an HTTP status.
    fn admit(&self, query: &str, headers: &HeaderMap) -> Result<Admitted, Refused> {
        if !origin::is_allowed(headers, &self.0.limits.allowed_origins) {
            return Err(Refused::Close(CloseReason::OriginNotAllowed));
        }
        let request = Request::parse(query).ok_or(Refused::Close(CloseReason::BadQuery))?;
        let place = Arc::clone(&self.0.places)
            .try_acquire_owned()
            .map_err(|_| Refused::Close(CloseReason::TooManySockets))?;
        let cursor = self
            .0
            .log
            .cursor(&request.audiences(), request.wanted(), request.since)
            .ok_or(Refused::NotReady)?;
        Ok(Admitted {
            cursor,
            tells_gaps: !request.is_bare(),
            _place: place,
        })
    }
}

/// What an open socket holds.
pub(crate) struct Admitted {
    pub(crate) cursor: Cursor,
    /// Whether the protocol that it speaks has a word for a gap.
    pub(crate) tells_gaps: bool,
    _place: tokio::sync::OwnedSemaphorePermit,
}

enum Refused {
    NotReady,
    Close(CloseReason),
}

async fn open(
    State(sockets): State<Sockets>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return not_an_upgrade();
    };
    let upgrade = socket::configure(upgrade);
    // Taken before the answer, so that an open socket is one that misses nothing from then on.
    let admitted = match sockets.admit(query.as_deref().unwrap_or_default(), &headers) {
        Ok(admitted) => Ok(admitted),
        Err(Refused::Close(reason)) => Err(reason),
        Err(Refused::NotReady) => return not_ready(),
    };
    let (task, shutdown) = (sockets.0.tasks.token(), sockets.0.shutdown.clone());
    upgrade.on_upgrade(async move |mut socket| {
        match admitted {
            Ok(mut admitted) => socket::serve(&mut socket, &mut admitted, &shutdown).await,
            Err(reason) => socket::close(&mut socket, reason).await,
        }
        drop((socket, task));
    })
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
