//! Servers to measure: the real parts in this process, and fakes that inject one fault.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::{
        State,
        ws::{Message, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use protocol::{JobContext, MaxN, Submission, TraceParent};
use queue::{Roles, Submitter};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::log::{self, Flaw};

/// A server on a free port, which ends when this is dropped.
pub(crate) struct Stage {
    pub(crate) url: String,
    _runtime: Runtime,
}

impl Stage {
    /// The socket server and the calculator on a queue in memory.
    pub(crate) fn start() -> Self {
        Self::serve(|listener| async move {
            let Roles {
                submitter,
                worker,
                reader,
                driver: _driver,
            } = Roles::in_memory();
            let shutdown = CancellationToken::new();
            let fib = Router::new()
                .route("/fib", post(submit))
                .with_state(submitter);
            let websocket_config = websocket::Config {
                allowed_origins: protocol::Origins::default(),
                max_sockets: 1000,
                drain_s: 5,
            };
            let calculator_config = calculator::Config {
                threads: NonZeroUsize::MIN,
                memory_limit_mib: 1024,
            };
            let (served, ()) = tokio::join!(
                websocket::run(
                    listener,
                    reader,
                    websocket_config,
                    websocket::Metrics::default(),
                    |routes| routes.merge(fib),
                    shutdown.clone()
                ),
                calculator::run(
                    worker,
                    calculator_config,
                    calculator::Metrics::default(),
                    shutdown
                ),
            );
            served.expect("a server");
        })
    }

    /// A server that does one thing wrong, with one job.
    pub(crate) fn with(mischief: Mischief) -> Self {
        Self::serve(move |listener| async move {
            let fake = Arc::new(Fake {
                mischief,
                posts: AtomicU64::new(0),
                messages: broadcast::Sender::new(1024),
            });
            let routes = Router::new()
                .route("/fib", post(Fake::post))
                .route("/ws", get(Fake::socket))
                .with_state(fake);
            axum::serve(listener, routes).await.expect("a server");
        })
    }

    /// A server with a log, which has one flaw.
    pub(crate) fn with_log(flaw: Flaw) -> Self {
        Self::serve(move |listener| async move {
            axum::serve(listener, log::routes(flaw))
                .await
                .expect("a server");
        })
    }

    fn serve<S, F>(server: S) -> Self
    where
        S: FnOnce(TcpListener) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(server(listener));
        Self {
            url,
            _runtime: runtime,
        }
    }
}

async fn submit(State(submitter): State<Submitter>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let job = Submission::parse(content_type, &body, MaxN::default())
        .expect("a valid submission")
        .into_job(JobContext::now(TraceParent::random()));
    let outcome = submitter.submit(&job).await;
    daemon::response(protocol::Response::to_submission(&job, outcome, None))
}

/// What a fake server does wrong with one of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    None,
    WrongValue,
    Loses,
    Repeats,
    Invents,
    Fails,
    Babbles,
    Refuses,
    AnswersWrongId,
}

/// The job that goes wrong, counted from 0.
const VICTIM: u64 = 5;

struct Fake {
    mischief: Mischief,
    posts: AtomicU64,
    messages: broadcast::Sender<String>,
}

impl Fake {
    async fn post(State(fake): State<Arc<Self>>, body: Bytes) -> Response {
        let mischief = match fake.posts.fetch_add(1, Ordering::Relaxed) {
            VICTIM => fake.mischief,
            _ => Mischief::None,
        };
        let job: Value = serde_json::from_slice(&body).expect("JSON");
        let id: Uuid = job["id"].as_str().expect("an id").parse().expect("a UUID");
        let right = result(id, "2880067194370816120");
        let messages = match mischief {
            Mischief::Refuses => {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            Mischief::None | Mischief::AnswersWrongId => vec![right],
            Mischief::WrongValue => vec![result(id, "2880067194370816121")],
            Mischief::Loses => vec![],
            Mischief::Repeats => vec![right.clone(), right],
            Mischief::Invents => vec![right, result(Uuid::now_v7(), "2880067194370816120")],
            Mischief::Fails => vec![json!({"type": "failed", "id": id, "n": 90}).to_string()],
            Mischief::Babbles => vec!["F(90)".into(), right],
        };
        for message in messages {
            fake.messages.send(message).expect("a socket");
        }
        let id = if mischief == Mischief::AnswersWrongId {
            Uuid::now_v7()
        } else {
            id
        };
        (StatusCode::ACCEPTED, json!({"id": id, "n": 90}).to_string()).into_response()
    }

    async fn socket(State(fake): State<Arc<Self>>, upgrade: WebSocketUpgrade) -> Response {
        let mut messages = fake.messages.subscribe();
        upgrade.on_upgrade(async move |mut socket| {
            while let Ok(message) = messages.recv().await {
                if socket.send(Message::Text(message.into())).await.is_err() {
                    break;
                }
            }
        })
    }
}

fn result(id: Uuid, value: &str) -> String {
    json!({"type": "result", "seq": 1, "id": id, "n": 90, "digits": 19, "value": value}).to_string()
}
