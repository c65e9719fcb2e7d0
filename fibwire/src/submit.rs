//! `fibwire submit N`: a number from a running system, as the page gets it.

use std::{
    io,
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use pipeline::Event;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, http::Uri, stream::MaybeTlsStream};
use uuid::Uuid;

use crate::{output, progress::Progress};

/// How long to wait for one HTTP answer.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a message before the clock is looked at.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before a connection is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which Fibonacci number: F(0) = 0, F(1) = 1.
    n: u64,
    /// Where fibwire runs.
    #[arg(
        long,
        env = "FIBWIRE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: Uri,
    /// Write the digits to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many seconds the whole may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut order = Order::new(args)?;
    // The socket first, so that the result cannot come before it.
    let mut socket = order.connect().context("WebSocket")?;
    order.post(args.n)?;
    let mut digits = Vec::new();
    let mut progress = Progress::new();
    loop {
        match order.next(&mut socket)? {
            Event::Progress { fraction, .. } => progress.show(fraction),
            Event::Part { value, .. } => digits.push(value),
            Event::Result {
                value,
                digits: length,
                ..
            } => {
                digits.extend(value);
                let received: usize = digits.iter().map(String::len).sum();
                ensure!(
                    received as u64 == length,
                    "{received} digits came of {length}"
                );
                drop(progress);
                return output::write(args.out.as_deref(), digits.into_iter());
            }
            Event::Failed { reason, .. } => bail!(reason),
            Event::Started { .. } | Event::Preview { .. } => {}
        }
    }
}

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// One job of this process, and what it takes to hear of it.
struct Order {
    url: String,
    client: String,
    id: Uuid,
    since: Option<u64>,
    deadline: Instant,
}

impl Order {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let scheme = args.url.scheme_str().unwrap_or_default();
        ensure!(
            matches!(scheme, "http" | "https"),
            "--url begins with http:// or https://"
        );
        Ok(Self {
            url: args.url.to_string().trim_end_matches('/').to_owned(),
            client: Uuid::new_v4().simple().to_string(),
            id: Uuid::now_v7(),
            since: None,
            deadline: Instant::now() + Duration::from_secs(args.timeout),
        })
    }

    fn connect(&self) -> anyhow::Result<Socket> {
        let url = self.url.replacen("http", "ws", 1);
        let since = self
            .since
            .map(|since| format!("&since={since}"))
            .unwrap_or_default();
        let (mut socket, _) =
            tungstenite::connect(format!("{url}/ws?client={}{since}", self.client))?;
        let stream = match socket.get_mut() {
            MaybeTlsStream::Plain(stream) => &*stream,
            MaybeTlsStream::Rustls(stream) => stream.get_ref(),
            _ => bail!("unknown kind of stream"),
        };
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(socket)
    }

    fn post(&self, n: u64) -> anyhow::Result<()> {
        let mut answer = ureq::post(format!("{}/fib", self.url))
            .config()
            .timeout_global(Some(HTTP_TIMEOUT))
            .http_status_as_error(false)
            .build()
            .send_json(json!({"n": n, "client": self.client, "id": self.id}))
            .context("POST /fib")?;
        if answer.status() == 202 {
            return Ok(());
        }
        let problem: Value = answer.body_mut().read_json().unwrap_or_default();
        match problem["detail"].as_str() {
            Some(detail) => bail!("{detail}"),
            None => bail!("POST /fib: {}", answer.status()),
        }
    }

    /// The next event of the job, over as many connections as it takes.
    fn next(&mut self, socket: &mut Socket) -> anyhow::Result<Event> {
        loop {
            ensure!(Instant::now() < self.deadline, "no result in time");
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).context("message")?;
                    self.since = message["seq"].as_u64().or(self.since);
                    // Others' broadcasts and gaps are not for this job.
                    if message["id"] == self.id.to_string() {
                        return serde_json::from_value(message).context("event");
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(_closed) => *socket = self.reconnect()?,
            }
        }
    }

    fn reconnect(&mut self) -> anyhow::Result<Socket> {
        self.since = self.since.or(Some(0));
        loop {
            match self.connect() {
                Ok(socket) => return Ok(socket),
                Err(error) if Instant::now() >= self.deadline => {
                    return Err(error.context("WebSocket"));
                }
                Err(_) => std::thread::sleep(RETRY_INTERVAL),
            }
        }
    }
}
