//! A client that reads events, over a socket or directly through a cursor, and comes back whenever it
//! is disconnected.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::Request;
use protocol::{Audience, event::Kind};
use queue::Item;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        Message,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    bug::Bug,
    chance::{Chance, pause_ms},
    plan::Plan,
    service::{Life, Service},
    trace::Actor,
    truth::{Subscription, Truth},
};

/// How long the opening of a socket may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The read buffer of a client, in bytes.
const READ_BUFFER: usize = 1024;

/// A client.
#[derive(Debug)]
pub(crate) struct Reader {
    plan: Plan,
    truth: Arc<Truth>,
    service: Arc<Service>,
    actor: Actor,
    chance: Chance,
    subscription: Subscription,
    has_socket: bool,
    /// Everything up to here was received.
    position: Option<u64>,
    /// Nothing after this place may be missed.
    latest_start: u64,
    is_done: bool,
}

impl Reader {
    pub(crate) fn new(plan: Plan, truth: Arc<Truth>, service: Arc<Service>, number: u64) -> Self {
        let mut chance = plan.chance(300 + number);
        let has_socket = chance.one_in(2);
        let is_bare = chance.one_in(4);
        let subscription = if is_bare {
            Subscription {
                audiences: vec![Audience::Public],
                wanted: |kind| kind == Kind::Part || kind.is_end(),
                tells_gaps: !has_socket,
            }
        } else {
            let client = Plan::client(chance.between(0, plan.submitters - 1));
            Subscription {
                audiences: vec![client, Audience::Public],
                wanted: |_| true,
                tells_gaps: true,
            }
        };
        Self {
            plan,
            truth,
            service,
            actor: Actor::Reader(number),
            position: chance.one_in(2).then_some(0),
            chance,
            subscription,
            has_socket,
            latest_start: 0,
            is_done: false,
        }
    }

    /// Reads until the end of the last job.
    pub(crate) async fn run(mut self) {
        while !self.is_done {
            if let Some(life) = self.service.life() {
                if self.has_socket {
                    self.read_socket(&life).await;
                } else {
                    self.read_cursor(&life).await;
                }
            }
            if !self.is_done {
                let ms = self.chance.between(0, 1000);
                pause_ms(ms).await;
            }
        }
    }

    fn since(&self) -> Option<u64> {
        let skipped = u64::from(self.plan.bug == Some(Bug::SinceOffByOne));
        self.position.map(|position| position + skipped)
    }

    async fn read_cursor(&mut self, life: &Life) {
        let Subscription {
            audiences, wanted, ..
        } = &self.subscription;
        let Ok(mut cursor) = life.reader.cursor(audiences, *wanted, self.since()) else {
            return;
        };
        self.opened();
        while !self.is_done {
            let patience = Duration::from_millis(self.chance.between(0, 30_000));
            let item = tokio::select! {
                biased;
                () = life.over.cancelled() => return,
                item = timeout(patience, cursor.next()) => item,
            };
            match item {
                Ok(Item::Entry(entry)) => self.received(entry.seq, &entry.message),
                Ok(Item::Gap(seq)) => self.missed(seq),
                // The next look must find what this one would have found.
                Err(_elapsed) => {}
            }
            if self.leaves().await {
                return;
            }
        }
    }

    async fn read_socket(&mut self, life: &Life) {
        let mut uri = "ws://simulation/ws".to_owned();
        if let [Audience::Client(token), _] = &self.subscription.audiences[..] {
            uri += &format!("?client={}&", token.as_str());
        } else {
            uri += "?";
        }
        if let Some(since) = self.since() {
            uri += &format!("since={since}");
        }
        let request = Request::get(&uri)
            .header("host", "simulation")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .body(())
            .expect("a valid request");
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0);
        let connection = life.connect(self.chance.fork());
        let opening = client_async_with_config(request, connection, Some(config));
        let Ok(Ok((mut socket, _))) = timeout(OPEN_TIMEOUT, opening).await else {
            self.truth.trace.say(self.actor, || "gets no socket".into());
            return;
        };
        self.opened();
        while !self.is_done {
            // Only at a fault does a client leave before it has got anything.
            let patience = Duration::from_millis(self.chance.between(0, 60_000));
            let deadline = self
                .plan
                .calm_at()
                .min(tokio::time::Instant::now() + patience);
            let impatient = !self.plan.is_calm();
            let message = tokio::select! {
                biased;
                message = socket.next() => message,
                () = sleep_until(deadline), if impatient => return,
            };
            match message {
                Some(Ok(Message::Text(text))) => self.received_text(text.as_str()),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map(|frame| frame.code);
                    self.truth
                        .trace
                        .say(self.actor, || format!("is closed with {code:?}"));
                    if code != Some(CloseCode::Away) {
                        self.truth
                            .finding(self.actor, &format!("closed with {code:?}"));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.truth.trace.say(self.actor, || "is cut off".into());
                    return;
                }
            }
            if self.leaves().await {
                return;
            }
        }
    }

    fn opened(&mut self) {
        let since = self.since();
        self.truth
            .trace
            .say(self.actor, || format!("reads since {since:?}"));
        self.latest_start = self.truth.last();
    }

    fn received_text(&mut self, text: &str) {
        let number = |prefix| {
            let rest: &str = text.strip_prefix(prefix)?;
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[..digits].parse().ok()
        };
        if let Some(seq) = number(r#"{"type":"gap","seq":"#) {
            self.missed(seq);
        } else if let Some(seq) = number(r#"{"seq":"#) {
            self.received(seq, text.as_bytes());
        } else {
            self.truth
                .finding(self.actor, &format!("strange message {text}"));
        }
    }

    fn received(&mut self, seq: u64, message: &[u8]) {
        self.truth
            .trace
            .say(self.actor, || format!("receives {seq}"));
        if self.position.is_some_and(|position| seq <= position) {
            self.truth
                .finding(self.actor, &format!("{seq} after {:?}", self.position));
        }
        let from = self.position.unwrap_or(self.latest_start);
        self.truth
            .check_message(self.actor, &self.subscription, from, seq, message);
        self.position = Some(seq);
        self.is_done = self.truth.sentinel() == Some(seq);
    }

    fn missed(&mut self, seq: u64) {
        self.truth
            .trace
            .say(self.actor, || format!("misses up to {seq}"));
        self.truth.check_gap(self.actor, seq);
        if self.position.is_some_and(|position| seq < position) {
            self.truth
                .finding(self.actor, &format!("gap {seq} after {:?}", self.position));
        }
        self.position = Some(seq);
    }

    /// Dawdles, perhaps, and says whether to disconnect.
    async fn leaves(&mut self) -> bool {
        if self.plan.is_calm() {
            return false;
        }
        if self.chance.one_in(20) {
            let longest_ms = if self.chance.one_in(8) { 50_000 } else { 3000 };
            let ms = self.chance.between(0, longest_ms);
            pause_ms(ms).await;
        }
        self.chance.one_in(12)
    }
}
