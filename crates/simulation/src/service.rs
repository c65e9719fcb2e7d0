//! The websocket process: it follows the log and serves sockets over a simulated network, and dies and
//! comes back.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{join_all, pending, ready};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use parking_lot::Mutex;
use protocol::Audience;
use queue::{
    Reader,
    custom::{Answer, Feed, Held, History, Next, Retention},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use websocket::{Metrics, Sockets};

use crate::{
    chance::{Chance, pause, pause_ms},
    link::Link,
    plan::Plan,
    server::{Client, Server, Stored},
    trace::Actor,
    truth::Truth,
};

/// The time a process has to end after SIGTERM.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);
/// For how long a node of the queue may not know what the others have stored.
const STALENESS_MS: u64 = 5000;
/// When to ask again after such a node has answered.
const ASK_AGAIN_MS: u64 = 100;
/// The most bytes that are read from a connection at once.
const CHUNK: usize = 2048;

/// The source of the events.
#[derive(Debug, Clone)]
pub(crate) enum Log {
    /// From the queue in the same process.
    Memory(Reader),
    /// From the queue's server.
    Server(Arc<Server>),
}

/// The websocket process, over all of its lives.
#[derive(Debug)]
pub(crate) struct Service {
    plan: Plan,
    truth: Arc<Truth>,
    log: Log,
    chance: Mutex<Chance>,
    life: Mutex<Option<Life>>,
    started: Instant,
}

/// The process from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) reader: Reader,
    sockets: Sockets,
    shutdown: CancellationToken,
    /// The end of everything in the process.
    pub(crate) over: CancellationToken,
}

impl Service {
    pub(crate) fn new(plan: Plan, truth: Arc<Truth>, log: Log, chance: Chance) -> Self {
        Self {
            plan,
            truth,
            log,
            chance: Mutex::new(chance),
            life: Mutex::new(None),
            started: Instant::now(),
        }
    }

    /// The process, if it runs.
    pub(crate) fn life(&self) -> Option<Life> {
        self.life.lock().clone()
    }

    /// Starts the process, ends it and starts it again, until the faults are over. The last process runs
    /// until `end`.
    pub(crate) async fn run(&self, end: CancellationToken) {
        loop {
            let life = self.start();
            let until = {
                let mut chance = self.chance.lock();
                Duration::from_millis(chance.between(1000, 40_000))
            };
            let is_last = !self.plan.faults || self.plan.is_calm_in(until);
            if is_last {
                end.cancelled().await;
            } else {
                pause(until).await;
            }
            let crashes = !is_last && self.chance.lock().one_in(2);
            self.truth.trace.say(Actor::Websocket, || {
                if crashes { "crashes" } else { "shuts down" }.into()
            });
            *self.life.lock() = None;
            if !crashes {
                life.shutdown.cancel();
                if timeout(SHUTDOWN_LIMIT, life.sockets.closed())
                    .await
                    .is_err()
                {
                    self.truth
                        .finding(Actor::Websocket, "no end after the shutdown");
                }
            }
            life.over.cancel();
            if is_last {
                return;
            }
            let away_ms = self.chance.lock().between(0, 3000);
            pause_ms(away_ms).await;
        }
    }

    fn start(&self) -> Life {
        self.truth.trace.say(Actor::Websocket, || "starts".into());
        let over = CancellationToken::new();
        let reader = match &self.log {
            Log::Memory(reader) => reader.clone(),
            Log::Server(server) => self.follow(server, &over),
        };
        let shutdown = CancellationToken::new();
        let config = websocket::Config {
            allowed_origins: Default::default(),
            max_sockets: 1000,
            drain_s: 5,
        };
        let life = Life {
            sockets: Sockets::new(reader.clone(), config, Metrics::default(), shutdown.clone()),
            reader,
            shutdown,
            over,
        };
        *self.life.lock() = Some(life.clone());
        life
    }

    /// A reader of its own over the server's log.
    fn follow(&self, server: &Arc<Server>, over: &CancellationToken) -> Reader {
        let connection = self.chance.lock().fork();
        let backend = Arc::new(Client(Arc::clone(server)));
        let history = ServerHistory {
            server: Arc::clone(server),
            plan: self.plan,
            started: self.started,
        };
        let tail = Retention {
            bytes: self.plan.tail_bytes,
            age: Duration::from_secs(600),
        };
        let (feed, reader) = Feed::new(tail, Arc::new(history));
        let follower = Follower {
            plan: self.plan,
            server: Arc::clone(server),
            link: Link::new(backend, None, self.plan.faults, connection),
            feed,
            chance: self.chance.lock().fork(),
        };
        let over = over.clone();
        tokio::spawn(async move { over.run_until_cancelled(follower.run()).await });
        reader
    }
}

impl Life {
    /// Opens a connection over the simulated network.
    pub(crate) fn connect(&self, mut chance: Chance) -> DuplexStream {
        let buffer = usize::try_from(chance.between(512, 8192)).expect("a small number");
        let (client, client_side) = duplex(buffer);
        let (server, server_side) = duplex(buffer);
        let (from_client, to_client) = split(client_side);
        let (from_server, to_server) = split(server_side);
        let (up, down) = (chance.fork(), chance.fork());
        let over = self.over.clone();
        tokio::spawn(async move {
            let transfer = async {
                tokio::join!(
                    transfer(from_client, to_server, up),
                    transfer(from_server, to_client, down)
                )
            };
            over.run_until_cancelled(transfer).await;
        });
        let router = self.sockets.routes();
        let over = self.over.clone();
        tokio::spawn(async move {
            let serving = http1::Builder::new()
                .serve_connection(TokioIo::new(server), TowerToHyperService::new(router))
                .with_upgrades();
            // A connection that ends early is a matter of its client.
            over.run_until_cancelled(serving).await.map(Result::ok);
        });
        client
    }
}

/// Takes bytes from one end of the network to the other.
async fn transfer(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut chance: Chance,
) {
    let mut buffer = [0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        chance.travel().wait().await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}

/// Feeds the tail of one life from the server.
struct Follower {
    plan: Plan,
    server: Arc<Server>,
    link: Link,
    feed: Feed,
    chance: Chance,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let cut_ms = self.chance.between(200, 30_000);
            let preloaded = self.chance.between(0, 20);
            let is_last = !self.plan.faults || self.plan.is_calm_in(Duration::from_millis(cut_ms));
            let server = Arc::clone(&self.server);
            let age = age(self.plan, &mut self.chance);
            let (disk, held) = self
                .link
                .until_answered(|| ready((server.disk(), server.held(age))))
                .await;
            let start = held
                .last
                .saturating_sub(preloaded)
                .max(held.first.saturating_sub(1))
                .min(held.last);
            let Some(position) = self.feed.connect(held, start) else {
                pause_ms(ASK_AGAIN_MS).await;
                continue;
            };
            let cut = async {
                if is_last {
                    pending::<()>().await;
                }
                pause_ms(cut_ms).await;
            };
            tokio::select! {
                biased;
                () = cut => {}
                () = self.follow(disk, position) => {}
            }
        }
    }

    /// Appends events until the connection is lost together with the server's disk.
    async fn follow(&self, disk: u64, mut position: u64) {
        let mut rumours = self.server.rumours.subscribe();
        loop {
            let stored = tokio::select! {
                biased;
                Ok(()) = rumours.changed() => match rumours.borrow_and_update().clone() {
                    Some(rumour) => rumour,
                    None => continue,
                },
                stored = self.server.next_after(position) => stored,
            };
            self.link.travel().await.ok();
            if self.server.disk() != disk {
                return;
            }
            position = position.max(stored.seq);
            self.feed
                .append(
                    stored.seq,
                    stored.audience,
                    Some(stored.context),
                    &stored.payload,
                )
                .expect("an event was encoded");
        }
    }
}

/// The log on the server, as the websocket process reads it: one request for each audience.
#[derive(Debug)]
struct ServerHistory {
    plan: Plan,
    server: Arc<Server>,
    started: Instant,
}

impl ServerHistory {
    /// The link that one request goes over. All readers ask through the same history, and the order in
    /// which they ask at the same moment is random. So what happens to a request must depend on the
    /// request alone.
    fn link(&self, request: impl Hash) -> Link {
        let backend = Arc::new(Client(Arc::clone(&self.server)));
        Link::new(backend, None, self.plan.faults, self.chance(request))
    }

    fn chance(&self, of: impl Hash) -> Chance {
        let mut hasher = DefaultHasher::new();
        (self.started.elapsed(), of).hash(&mut hasher);
        self.plan.chance(hasher.finish())
    }
}

impl History for ServerHistory {
    fn next_after<'a>(&'a self, audiences: &'a [Audience], position: u64) -> Answer<'a, Next> {
        Box::pin(async move {
            let next_for = async |audience| {
                self.link((audience, position))
                    .until_answered(move || ready(self.server.next_for(audience, position)))
                    .await
            };
            let entry = join_all(audiences.iter().map(next_for))
                .await
                .into_iter()
                .flatten()
                .min_by_key(|stored| stored.seq)
                .map(Stored::entry);
            let first = match &entry {
                Some(entry) if entry.seq == position + 1 => entry.seq,
                _ => self.held().await.first,
            };
            Next { entry, first }
        })
    }

    fn held(&self) -> Answer<'_, Held> {
        Box::pin(async {
            let age = age(self.plan, &mut self.chance("age"));
            self.link("held")
                .until_answered(|| ready(self.server.held(age)))
                .await
        })
    }

    fn staleness(&self) -> Duration {
        Duration::from_millis(STALENESS_MS)
    }
}

/// How old the knowledge of the node is that answers. Most nodes are up to date.
fn age(plan: Plan, chance: &mut Chance) -> Duration {
    if plan.faults && chance.one_in(4) {
        Duration::from_millis(chance.between(0, STALENESS_MS))
    } else {
        Duration::ZERO
    }
}
