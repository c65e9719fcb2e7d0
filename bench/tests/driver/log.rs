//! A fake server with a log, which replays it as the real one does and has one flaw.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{
        RawQuery, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};
use uuid::Uuid;

/// A fault of the server, with one job where it says "a job".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// A job has no end.
    Loses,
    /// A job ends twice, one right after the other.
    Repeats,
    /// A job ends again when many others have ended since.
    RepeatsLate,
    /// A job whose id is posted again is a new job.
    ForgetsIds,
    WrongValue,
    WrongN,
    /// The 202 names another job.
    Renames,
    /// A result belongs to no job.
    Invents,
    /// The end of a private job is public.
    Leaks,
    /// The first socket that should receive the end of a job does not; later ones do.
    SkipsOnce,
    /// A socket is closed after some messages, and the next begins with what is at `since`, and not
    /// with what is after it.
    BeginsAtSince,
    Babbles,
    Gap,
    /// A job is answered 503 at first.
    Refuses,
    /// A job is answered 503 although the server has it.
    RefusesButKeeps,
    /// A job gets no answer although the server has it.
    HangsUpButKeeps,
    /// A job is answered 422.
    RefusesForGood,
    /// A job ends without a value.
    Fails,
    /// A value comes in parts.
    Parts,
    LosesPart,
    RepeatsPart,
    /// A socket is closed after some messages.
    ClosesSockets,
    /// The server does not answer for a second.
    Stalls,
    /// Every job ends before its 202 is sent.
    AnswersAfterEnd,
}

/// The job that goes wrong, counted from 0, the one that opens the audit.
const VICTIM: usize = 5;
/// How many jobs later it ends again.
const LATE: usize = 20;
/// How long a job has been ended when its 202 is sent.
const AFTER_END: Duration = Duration::from_millis(30);
/// The number of messages after which a socket is closed.
const MESSAGES_PER_SOCKET: usize = 30;

pub(crate) fn routes(flaw: Flaw) -> Router {
    let fake = Fake {
        flaw,
        state: Mutex::default(),
        length: watch::Sender::new(0),
    };
    Router::new()
        .route("/fib", post(Fake::post))
        .route("/ws", get(Fake::socket))
        .with_state(Arc::new(fake))
}

struct Fake {
    flaw: Flaw,
    state: Mutex<Log>,
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    jobs: HashMap<Uuid, Job>,
    entries: Vec<Entry>,
    posts_of_victim: usize,
    /// The entries that were kept from the first socket that should have received them.
    skipped: HashSet<usize>,
}

#[derive(Clone)]
struct Job {
    number: usize,
    id: Uuid,
    n: u64,
    client: Option<String>,
}

struct Entry {
    client: Option<String>,
    is_victim: bool,
    text: String,
}

impl Fake {
    async fn post(State(fake): State<Arc<Self>>, body: Bytes) -> Response {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let id: Uuid = body["id"].as_str().expect("an id").parse().expect("a UUID");
        let mut log = fake.state.lock().await;
        let number = log.jobs.len();
        let known = log.jobs.contains_key(&id);
        let job = log.jobs.entry(id).or_insert_with(|| Job {
            number,
            id,
            n: body["n"].as_u64().expect("n"),
            client: body["client"].as_str().map(str::to_owned),
        });
        let job = job.clone();
        let is_victim = job.number == VICTIM;
        if is_victim {
            log.posts_of_victim += 1;
        }
        let flaw = if is_victim { fake.flaw } else { Flaw::None };
        let is_first = log.posts_of_victim == 1;
        match flaw {
            Flaw::RefusesForGood => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            Flaw::Refuses if is_first => {
                log.jobs.remove(&id);
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            Flaw::Stalls => {
                timeout(Duration::from_secs(1), std::future::pending::<()>())
                    .await
                    .expect_err("a second");
            }
            _ => {}
        }
        if !known || fake.flaw == Flaw::ForgetsIds {
            log.end(&job, flaw);
        }
        if fake.flaw == Flaw::RepeatsLate && job.number == VICTIM + LATE && !known {
            let victim = log.jobs.values().find(|job| job.number == VICTIM);
            let victim = victim.expect("posted before").clone();
            log.end(&victim, Flaw::None);
        }
        fake.length.send_replace(log.entries.len());
        drop(log);
        if fake.flaw == Flaw::AnswersAfterEnd {
            timeout(AFTER_END, std::future::pending::<()>())
                .await
                .expect_err("a moment");
        }
        match flaw {
            Flaw::RefusesButKeeps if is_first => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Flaw::HangsUpButKeeps if is_first => {
                // An answer that the client cannot read, after which it has to connect again.
                (StatusCode::ACCEPTED, "half an answ").into_response()
            }
            Flaw::Renames => accepted(Uuid::now_v7(), job.n),
            _ => accepted(id, job.n),
        }
    }

    async fn socket(
        State(fake): State<Arc<Self>>,
        RawQuery(query): RawQuery,
        upgrade: WebSocketUpgrade,
    ) -> Response {
        let query = query.unwrap_or_default();
        let field = |name: &str| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            let (_, value) = fields.find(|(key, _)| *key == name)?;
            Some(value.to_owned())
        };
        let client = field("client");
        let since: Option<usize> = field("since").map(|since| since.parse().expect("a place"));
        let mut length = fake.length.subscribe();
        // Without `since`, the socket sends the events that are published once it is open.
        let next = since.unwrap_or_else(|| *length.borrow());
        let next = next.saturating_sub(usize::from(fake.flaw == Flaw::BeginsAtSince));
        upgrade.on_upgrade(async move |mut socket| {
            let sent = fake.send_from(next, client.as_deref(), &mut length, &mut socket);
            // The peer may be gone, or the flaw is to hang up.
            sent.await.ok();
        })
    }

    async fn send_from(
        &self,
        mut next: usize,
        client: Option<&str>,
        length: &mut watch::Receiver<usize>,
        socket: &mut WebSocket,
    ) -> Result<(), axum::Error> {
        let mut messages = 0;
        loop {
            length
                .wait_for(|length| *length > next)
                .await
                .map_err(axum::Error::new)?;
            let text = {
                let mut log = self.state.lock().await;
                let entry = &log.entries[next];
                let is_for_it = entry.client.is_none() || entry.client.as_deref() == client;
                let skips = is_for_it && entry.is_victim && self.flaw == Flaw::SkipsOnce;
                let text = is_for_it.then(|| entry.text.clone());
                if skips && log.skipped.insert(next) {
                    None
                } else {
                    text
                }
            };
            next += 1;
            if let Some(text) = text {
                messages += 1;
                socket.send(Message::Text(text.into())).await?;
            }
            let closes = matches!(self.flaw, Flaw::ClosesSockets | Flaw::BeginsAtSince);
            if closes && messages == MESSAGES_PER_SOCKET {
                return Ok(());
            }
        }
    }
}

impl Log {
    /// Appends the end of a job.
    fn end(&mut self, job: &Job, flaw: Flaw) {
        let value = fibonacci(job.n);
        let digits = value.len();
        let right =
            json!({"type": "result", "id": job.id, "n": job.n, "digits": digits, "value": value});
        let with = |field: &str, value: Value| {
            let mut message = right.clone();
            message[field] = value;
            message
        };
        let part = |index: usize, value: &str| json!({"type": "part", "id": job.id, "n": job.n, "index": index, "parts": 2, "value": value});
        let (first, second) = value.split_at(digits / 2);
        let (first, second) = (part(0, first), part(1, second));
        let end = json!({"type": "result", "id": job.id, "n": job.n, "digits": digits, "parts": 2});
        let messages = match flaw {
            Flaw::Loses => vec![],
            Flaw::Repeats => vec![right.clone(), right],
            Flaw::WrongValue => vec![with("value", "9".repeat(digits).into())],
            Flaw::WrongN => vec![with("n", (job.n + 1).into())],
            Flaw::Invents => vec![with("id", json!(Uuid::now_v7())), right],
            Flaw::Babbles => vec![json!("F(90)"), right],
            Flaw::Gap => vec![json!({"type": "gap"}), right],
            Flaw::Fails => {
                vec![json!({"type": "failed", "id": job.id, "n": job.n, "reason": "tired"})]
            }
            Flaw::Parts => vec![first, second, end],
            Flaw::LosesPart => vec![second, end],
            Flaw::RepeatsPart => vec![first.clone(), second, first, end],
            _ => vec![right],
        };
        let client = job.client.clone().filter(|_| flaw != Flaw::Leaks);
        for mut message in messages {
            if message.is_object() {
                message["seq"] = (self.entries.len() + 1).into();
            }
            self.entries.push(Entry {
                client: client.clone(),
                is_victim: job.number == VICTIM,
                text: message.to_string(),
            });
        }
    }
}

fn accepted(id: Uuid, n: u64) -> Response {
    (StatusCode::ACCEPTED, json!({"id": id, "n": n}).to_string()).into_response()
}

fn fibonacci(n: u64) -> String {
    let value = fibonacci::fibonacci(n);
    value.pieces(value.digits()).collect()
}
