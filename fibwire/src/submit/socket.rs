//! A WebSocket that is opened again whenever it is lost, and then resumes.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, bail};
use protocol::{Event, event::Kind};
use serde_json::Value;
use tungstenite::{
    HandshakeError, WebSocket,
    http::Uri,
    protocol::{CloseFrame, frame::coding::CloseCode},
    stream::MaybeTlsStream,
};

use super::{
    patience::Patience,
    posting::{RETRIED_STATUSES, retry_after},
};

/// How long an attempt at an address may take, and then each read and each write of the upgrade.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a frame for this long counts as lost. The server pings more often.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

type Connection = WebSocket<MaybeTlsStream<TcpStream>>;

/// A message from the server.
#[derive(Debug)]
pub(super) enum Message {
    Event(Box<Event>),
    /// Some events are gone.
    Gap,
}

/// The socket of one private channel.
#[derive(Debug)]
pub(super) struct Socket {
    uri: String,
    connection: Connection,
    /// The place of the last message.
    since: Option<u64>,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("the server asked us to come back later")]
    NotNow(Option<Duration>),
    #[error(transparent)]
    Failed(#[from] tungstenite::Error),
    #[error(transparent)]
    Stream(#[from] io::Error),
}

impl Socket {
    /// Opens the socket. If the server asks the client to come back later, this waits and tries again. Any other
    /// failure is an error, because the likely cause is a wrong address.
    pub(super) fn open(url: &str, client: &str, patience: &mut Patience) -> anyhow::Result<Self> {
        let uri = format!("{}/ws?client={client}", url.replacen("http", "ws", 1));
        loop {
            match connect(&uri, patience.left()?) {
                Ok(connection) => {
                    return Ok(Self {
                        uri,
                        connection,
                        since: None,
                    });
                }
                Err(ConnectError::NotNow(retry_after)) => patience.wait(retry_after)?,
                Err(error) => return Err(error).context("WebSocket"),
            }
        }
    }

    /// The next event or gap, over as many connections as it takes.
    pub(super) fn next(&mut self, patience: &mut Patience) -> anyhow::Result<Message> {
        loop {
            match self.read(patience.left()?) {
                Ok(tungstenite::Message::Text(text)) => {
                    patience.succeeded();
                    let message: Value = serde_json::from_str(&text).context("message")?;
                    self.since = message["seq"].as_u64().or(self.since);
                    if message["type"] == "gap" {
                        return Ok(Message::Gap);
                    }
                    // A type that this version does not know is ignored.
                    if serde_json::from_value::<Kind>(message["type"].clone()).is_ok() {
                        let event: Event = serde_json::from_value(message).context("message")?;
                        return Ok(Message::Event(Box::new(event)));
                    }
                }
                Ok(tungstenite::Message::Close(frame)) => {
                    check_close(frame.as_ref())?;
                    if frame.is_some_and(|frame| frame.code == CloseCode::Away) {
                        patience.server_left();
                    }
                    self.reconnect(patience)?;
                }
                Ok(_) => {}
                Err(_lost) => self.reconnect(patience)?,
            }
        }
    }

    /// Waits for a message, for at most [`SILENCE_LIMIT`] or `left`, whichever is shorter.
    fn read(&mut self, left: Duration) -> tungstenite::Result<tungstenite::Message> {
        tcp(&self.connection).set_read_timeout(Some(SILENCE_LIMIT.min(left)))?;
        self.connection.read()
    }

    fn reconnect(&mut self, patience: &mut Patience) -> anyhow::Result<()> {
        let uri = format!("{}&since={}", self.uri, self.since.unwrap_or(0));
        let mut retry_after = None;
        loop {
            patience.wait(retry_after).context("WebSocket")?;
            match connect(&uri, patience.left()?) {
                Ok(connection) => {
                    self.connection = connection;
                    return Ok(());
                }
                Err(ConnectError::NotNow(asked)) => retry_after = asked,
                Err(_failed) => retry_after = None,
            }
        }
    }
}

/// Connects to `uri` and upgrades. Each attempt at an address, and then each read and each write, takes at
/// most `left`.
fn connect(uri: &str, left: Duration) -> Result<Connection, ConnectError> {
    let timeout = OPEN_TIMEOUT.min(left);
    let stream = connect_tcp(uri, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    match tungstenite::client_tls(uri, stream) {
        Ok((connection, _response)) => Ok(connection),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response)))
            if RETRIED_STATUSES.contains(&response.status().as_u16()) =>
        {
            Err(ConnectError::NotNow(retry_after(response.headers())))
        }
        Err(HandshakeError::Failure(error)) => Err(error.into()),
        Err(HandshakeError::Interrupted(_)) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// Connects to the first address of the host that accepts a connection.
fn connect_tcp(uri: &str, timeout: Duration) -> Result<TcpStream, ConnectError> {
    let uri: Uri = uri.parse().map_err(tungstenite::Error::from)?;
    let default_port = match uri.scheme_str() {
        Some("wss") => 443,
        _ => 80,
    };
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(default_port);
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in format!("{host}:{port}").to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

fn tcp(connection: &Connection) -> &TcpStream {
    match connection.get_ref() {
        MaybeTlsStream::Plain(stream) => stream,
        MaybeTlsStream::Rustls(stream) => stream.get_ref(),
        _ => unreachable!("no other kind of stream is compiled in"),
    }
}

/// Fails if the server closed the socket for a reason that does not go away.
fn check_close(frame: Option<&CloseFrame>) -> anyhow::Result<()> {
    match frame {
        Some(CloseFrame {
            code:
                CloseCode::Policy
                | CloseCode::Size
                | CloseCode::Protocol
                | CloseCode::Invalid
                | CloseCode::Unsupported,
            reason,
        }) => bail!("the server closed the socket: {reason}"),
        _ => Ok(()),
    }
}
