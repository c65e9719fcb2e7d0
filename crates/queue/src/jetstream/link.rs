//! The connection to the NATS server, and whether it is up.

use std::{convert::Infallible, fmt, time::Duration};

use async_nats::{Auth, AuthError, Client, ConnectError, ConnectOptions, Event};
use futures_util::future::BoxFuture;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use tokio::{sync::watch, time::Instant};

use super::options::JetStreamOptions;
use crate::{Driver, backoff, metrics};

/// How often a connection is checked. It is closed after two missed answers. A process that was cut off the
/// network may come back with another address, and then nothing else ends its connection.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The same where there is another server to go to if this one hangs or cannot be reached.
const PING_INTERVAL_OF_SEVERAL: Duration = Duration::from_secs(1);

/// How long an answer may take, also the ack of a message.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where there are several servers. There a request is lost if it is sent while the nodes choose a
/// leader, or to one that hangs.
const ANSWER_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);

/// How long one attempt to connect may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The oldest server that works. An older one removes every job when a lane is swept up to its beginning.
const OLDEST_SERVER: (i64, i64, i64) = (2, 14, 2);

/// The server is too old.
#[derive(Debug, thiserror::Error)]
#[error("nats-server {0} is too old: fibwire needs 2.14.2 or newer")]
pub(super) struct ServerTooOld(String);

/// Checks the version of the server that `client` is connected to.
pub(super) fn check_server(client: &Client) -> Result<(), ServerTooOld> {
    let (major, minor, patch) = OLDEST_SERVER;
    if client.is_server_compatible(major, minor, patch) {
        Ok(())
    } else {
        Err(ServerTooOld(client.server_info().version))
    }
}

/// Connects as `user` in the background, and again whenever the connection is lost.
///
/// The future is boxed so that the client of NATS is compiled once, with this crate, and not with each program.
pub(super) fn connect<'a>(
    options: &'a JetStreamOptions,
    user: &'a str,
) -> BoxFuture<'a, Result<(Client, Link), ConnectError>> {
    Box::pin(connect_as(options, user))
}

async fn connect_as(
    options: &JetStreamOptions,
    user: &str,
) -> Result<(Client, Link), ConnectError> {
    let (state, link) = watch::channel(State {
        connections: 0,
        connected: false,
        since: Instant::now(),
    });
    let (name, password_file) = (user.to_owned(), options.password_file.clone());
    let (ping_interval, answer_timeout) = match options.urls.len() {
        0 | 1 => (PING_INTERVAL, ANSWER_TIMEOUT),
        _ => (PING_INTERVAL_OF_SEVERAL, ANSWER_TIMEOUT_OF_SEVERAL),
    };
    let client = ConnectOptions::with_auth_callback(move |_nonce| {
        let (name, password_file) = (name.clone(), password_file.clone());
        async move {
            let password = std::fs::read_to_string(&password_file).map_err(|error| {
                AuthError::new(format!(
                    "password file {}: {error}",
                    password_file.display()
                ))
            })?;
            let mut auth = Auth::new();
            auth.username = Some(name);
            auth.password = Some(password.trim_end().to_owned());
            Ok(auth)
        }
    })
    .name(user)
    .custom_inbox_prefix(format!("_INBOX_{user}"))
    .retry_on_initial_connect()
    .connection_timeout(CONNECTION_TIMEOUT)
    .ping_interval(ping_interval)
    .request_timeout(Some(answer_timeout))
    .reconnect_delay_callback(|attempts| {
        backoff::delay(u32::try_from(attempts).expect("at two a second, 32 bits last for 68 years"))
    })
    .event_callback(move |event| {
        observe(&event, &state);
        async {}
    })
    .connect(options.urls.clone())
    .await?;
    Ok((client, Link(link)))
}

fn observe(event: &Event, state: &watch::Sender<State>) {
    match event {
        Event::Connected => {
            state.send_modify(|state| {
                state.connections += 1;
                state.set_connected(true);
            });
            tracing::info!("connected to the queue");
        }
        Event::Disconnected | Event::Closed => {
            state.send_modify(|state| state.set_connected(false));
            tracing::warn!("connection to the queue lost");
        }
        // A missing permission is reported only here. The call itself times out.
        Event::ServerError(error) => tracing::error!(%error, "the queue refused a request"),
        Event::SlowConsumer(_) => {
            tracing::error!("messages dropped: they were not read fast enough");
        }
        Event::ClientError(error) => tracing::warn!(%error, "queue client"),
        Event::LameDuckMode | Event::Draining => tracing::info!(%event, "queue client"),
    }
}

/// Tells whether there is a connection, and when that changes.
#[derive(Debug, Clone)]
pub(super) struct Link(watch::Receiver<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// How many connections were made so far.
    connections: u64,
    connected: bool,
    /// When `connected` last changed.
    since: Instant,
}

impl State {
    fn set_connected(&mut self, connected: bool) {
        if connected != self.connected {
            self.connected = connected;
            self.since = Instant::now();
        }
    }
}

impl Link {
    /// Whether there has been no connection for at least `time`.
    pub(super) fn is_away_for(&self, time: Duration) -> bool {
        let state = *self.0.borrow();
        !state.connected && state.since.elapsed() >= time
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Connection {
        let mut state = self.0.clone();
        if state.wait_for(|state| state.connected).await.is_err() {
            // The client is gone, and with it every chance of a connection: the process is ending.
            std::future::pending::<()>().await;
        }
        let number = state.borrow().connections;
        Connection { state, number }
    }

    /// A driver that only says whether there is a connection.
    pub(super) fn driver(self) -> Driver {
        Driver::new(async move |ready| self.follow(&ready).await)
    }

    /// Says through `ready` whether there is a connection, forever.
    async fn follow(&self, ready: &watch::Sender<bool>) -> Infallible {
        loop {
            let connection = self.connected().await;
            ready.send_replace(true);
            connection.lost().await;
            ready.send_replace(false);
        }
    }
}

/// One of the successive connections.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    state: watch::Receiver<State>,
    number: u64,
}

impl Connection {
    /// Waits until this connection is lost.
    pub(super) async fn lost(mut self) {
        let over = |state: &State| !state.connected || state.connections != self.number;
        self.state.wait_for(over).await.ok();
    }
}

/// Shows whether a service is connected and how often it was.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Vec<Link>);

impl Connections {
    /// The connections of one role.
    pub(super) fn of(links: impl IntoIterator<Item = Link>) -> Self {
        Self(links.into_iter().collect())
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states: Vec<_> = self.0.iter().map(|link| *link.0.borrow()).collect();
        let connected = states.iter().all(|state| state.connected);
        let connections: u64 = states.iter().map(|state| state.connections).sum();
        metrics::encode(
            &mut encoder,
            "fibwire_queue_connected",
            "Whether there is a connection to the queue: 1 or 0.",
            None,
            &ConstGauge::new(i64::from(connected)),
        )?;
        metrics::encode(
            &mut encoder,
            "fibwire_queue_connections",
            "Connections to the queue that were made.",
            None,
            &ConstCounter::new(connections),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// The result of [`check_server`] for a server that calls itself this version, and does nothing else.
    async fn checked(version: &str) -> Result<(), ServerTooOld> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let info = format!(
            "INFO {{\"server_id\":\"x\",\"version\":\"{version}\",\"max_payload\":1024}}\r\n"
        );
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(info.as_bytes()).unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // Until the client is gone.
            for line in lines.map_while(Result::ok) {
                if line == "PING" && stream.write_all(b"PONG\r\n").is_err() {
                    return;
                }
            }
        });
        let client = async_nats::connect(format!("nats://{address}"))
            .await
            .unwrap();
        let checked = check_server(&client);
        client.drain().await.unwrap();
        drop(client);
        tokio::task::spawn_blocking(|| server.join())
            .await
            .unwrap()
            .unwrap();
        checked
    }

    #[tokio::test]
    async fn a_server_that_would_lose_jobs_is_refused_with_a_sentence() {
        for version in ["2.14.2", "2.14.10", "2.15.0", "3.0.0"] {
            assert!(checked(version).await.is_ok(), "{version}");
        }
        for version in ["2.14.1", "2.13.9", "1.99.99"] {
            let sentence = checked(version).await.unwrap_err().to_string();
            assert!(sentence.contains(version), "{sentence}");
            assert!(sentence.contains("2.14.2 or newer"), "{sentence}");
        }
    }
}
