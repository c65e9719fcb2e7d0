//! The connection to the NATS server, and when it was last made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_nats::{Auth, AuthError, Client, ConnectError, ConnectOptions, Event};
use tokio::{sync::watch, time::Instant};

use super::JetStreamOptions;
use crate::backoff;

/// How often an idle connection is checked; two missed answers close it.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long one attempt to connect may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects in the background, for ever.
pub(super) async fn connect(
    options: &JetStreamOptions,
    user: &str,
) -> Result<(Client, Link), ConnectError> {
    let (state, link) = watch::channel(State {
        connections: 0,
        connected: false,
        since: Instant::now(),
    });
    let (name, password_file) = (user.to_owned(), options.password_file.clone());
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
    .ping_interval(PING_INTERVAL)
    .reconnect_delay_callback(|attempts| {
        backoff::delay(u32::try_from(attempts).unwrap_or(u32::MAX))
    })
    .event_callback(move |event| {
        observe(&event, &state);
        async {}
    })
    .connect(options.url.clone())
    .await?;
    Ok((
        client,
        Link {
            state: link,
            undeclared: Arc::default(),
        },
    ))
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
        // A missing permission shows up nowhere else: to the caller it looks like a time-out.
        Event::ServerError(error) => tracing::error!(%error, "the queue refused something"),
        Event::SlowConsumer(_) => {
            tracing::error!("messages dropped: they were not read fast enough");
        }
        Event::ClientError(error) => tracing::warn!(%error, "queue client"),
        Event::LameDuckMode | Event::Draining => tracing::info!(%event, "queue client"),
    }
}

/// The state of the connection, for everybody who must act when it changes.
#[derive(Debug, Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    /// How many parts of this process still have to declare what they read.
    undeclared: Arc<AtomicU32>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// How many connections were made so far.
    connections: u64,
    connected: bool,
    /// When that began.
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
        let state = *self.state.borrow();
        !state.connected && state.since.elapsed() >= time
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Connection {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.connected).await.is_err() {
            // The client is gone, which is the end of the process.
            std::future::pending::<()>().await;
        }
        let number = state.borrow().connections;
        Connection { state, number }
    }

    /// Whether there is a connection and all was declared over it.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().connected && self.undeclared.load(Ordering::Relaxed) == 0
    }

    /// Says that there is one more thing to declare before this process is ready.
    pub(super) fn declaration(&self) -> Declaration {
        self.undeclared.fetch_add(1, Ordering::Relaxed);
        Declaration {
            undeclared: Arc::clone(&self.undeclared),
            made: false,
        }
    }
}

/// One connection, out of those that come after each other.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    state: watch::Receiver<State>,
    number: u64,
}

impl Connection {
    /// Waits until this connection is no more.
    pub(super) async fn lost(mut self) {
        let over = |state: &State| !state.connected || state.connections != self.number;
        self.state.wait_for(over).await.ok();
    }
}

/// Something that must be declared to the server for this process to be ready.
#[derive(Debug)]
pub(super) struct Declaration {
    undeclared: Arc<AtomicU32>,
    made: bool,
}

impl Declaration {
    /// Says whether it stands.
    pub(super) fn set(&mut self, made: bool) {
        if made != self.made {
            self.made = made;
            if made {
                self.undeclared.fetch_sub(1, Ordering::Relaxed);
            } else {
                self.undeclared.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Declaration {
    fn drop(&mut self) {
        self.set(true);
    }
}
