//! The address of the fibwire to measure, and the sockets to it.

use std::{io, str::FromStr};

use anyhow::Context;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config, tungstenite::protocol::WebSocketConfig,
};
use uuid::Uuid;

/// A WebSocket without TLS.
pub(crate) type Socket = WebSocketStream<TcpStream>;

/// The host and port of a URL such as `http://127.0.0.1:8080`.
#[derive(Debug, Clone)]
pub(crate) struct Target(String);

/// The text is not such a URL.
#[derive(Debug, thiserror::Error)]
#[error("not of the form http://HOST:PORT")]
pub(crate) struct InvalidTarget;

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let host = url.strip_prefix("http://").ok_or(InvalidTarget)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(InvalidTarget);
        }
        Ok(Self(if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        }))
    }
}

impl Target {
    /// The host and port.
    pub(crate) fn host(&self) -> &str {
        &self.0
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.0).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Opens a socket for `channel`, which reads at most `read_buffer` bytes at once.
    pub(crate) async fn socket(
        &self,
        channel: &Channel,
        read_buffer: usize,
    ) -> anyhow::Result<Socket> {
        let query = channel
            .token()
            .map_or_else(String::new, |token| format!("?client={token}"));
        self.open(&query, read_buffer).await
    }

    /// Opens a socket that begins with what the log holds of `channel` after the place `since`.
    pub(crate) async fn socket_since(
        &self,
        channel: &Channel,
        since: u64,
        read_buffer: usize,
    ) -> anyhow::Result<Socket> {
        let query = channel.token().map_or_else(
            || format!("?since={since}"),
            |token| format!("?client={token}&since={since}"),
        );
        self.open(&query, read_buffer).await
    }

    async fn open(&self, query: &str, read_buffer: usize) -> anyhow::Result<Socket> {
        let stream = self.connect().await.context("connection")?;
        let config = WebSocketConfig::default().read_buffer_size(read_buffer);
        let url = format!("ws://{}/ws{query}", self.0);
        let (socket, _response) = client_async_with_config(url, stream, Some(config))
            .await
            .context("WebSocket")?;
        Ok(socket)
    }
}

/// The sockets that receive a job's result.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    /// Every socket.
    Broadcast,
    /// The sockets that were opened with this token.
    Private(String),
}

impl Channel {
    /// A private channel that nobody else knows.
    pub(crate) fn private() -> Self {
        Self::Private(Uuid::new_v4().simple().to_string())
    }

    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Broadcast => None,
            Self::Private(token) => Some(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_a_port() {
        for (url, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://fib.example", "fib.example:80"),
        ] {
            assert_eq!(url.parse::<Target>().unwrap().host(), host);
        }
        for url in [
            "",
            "http://",
            "https://x",
            "127.0.0.1:80",
            "http://x/path",
            "http://u@x",
        ] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
