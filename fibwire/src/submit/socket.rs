//! A WebSocket that is opened again whenever it is lost, and then resumes.

use std::{io, net::TcpStream, time::Duration};

use anyhow::{Context, bail};
use protocol::Event;
use serde_json::Value;
use tungstenite::{
    WebSocket,
    protocol::{CloseFrame, frame::coding::CloseCode},
    stream::MaybeTlsStream,
};

use super::{patience::Patience, posting::retry_after};

/// How long to wait for a message before the deadline is checked.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

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
    url: String,
    connection: Connection,
    /// The place of the last message.
    since: Option<u64>,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("try again later")]
    NotNow(Option<Duration>),
    #[error(transparent)]
    Failed(#[from] tungstenite::Error),
    #[error("socket option")]
    Option(#[from] io::Error),
}

impl Socket {
    /// Opens the socket. If the server asks to wait, this waits; any other failure is an error, since a
    /// wrong address is the likely cause.
    pub(super) fn open(url: &str, client: &str, patience: &mut Patience) -> anyhow::Result<Self> {
        let url = format!("{}/ws?client={client}", url.replacen("http", "ws", 1));
        loop {
            match connect(&url) {
                Ok(connection) => {
                    patience.succeeded();
                    return Ok(Self {
                        url,
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
            patience.check()?;
            match self.connection.read() {
                Ok(tungstenite::Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).context("message")?;
                    self.since = message["seq"].as_u64().or(self.since);
                    if message["type"] == "gap" {
                        return Ok(Message::Gap);
                    }
                    // Types that this version does not know are ignored.
                    if let Ok(event) = serde_json::from_value(message) {
                        return Ok(Message::Event(Box::new(event)));
                    }
                }
                Ok(tungstenite::Message::Close(frame)) => {
                    check_close(frame.as_ref())?;
                    self.reconnect(patience)?;
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(_lost) => self.reconnect(patience)?,
            }
        }
    }

    fn reconnect(&mut self, patience: &mut Patience) -> anyhow::Result<()> {
        let url = format!("{}&since={}", self.url, self.since.unwrap_or(0));
        let mut retry_after = None;
        loop {
            patience.wait(retry_after).context("WebSocket")?;
            match connect(&url) {
                Ok(connection) => {
                    patience.succeeded();
                    self.connection = connection;
                    return Ok(());
                }
                Err(ConnectError::NotNow(asked)) => retry_after = asked,
                Err(_failed) => retry_after = None,
            }
        }
    }
}

fn connect(url: &str) -> Result<Connection, ConnectError> {
    let (mut connection, _response) = tungstenite::connect(url).map_err(|error| match error {
        tungstenite::Error::Http(response)
            if matches!(response.status().as_u16(), 429 | 502 | 503 | 504) =>
        {
            ConnectError::NotNow(retry_after(response.headers()))
        }
        error => error.into(),
    })?;
    let stream = match connection.get_mut() {
        MaybeTlsStream::Plain(stream) => &*stream,
        MaybeTlsStream::Rustls(stream) => stream.get_ref(),
        _ => unreachable!("no other kind of stream is compiled in"),
    };
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    Ok(connection)
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
