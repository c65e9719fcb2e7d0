//! `bench idle`: how much memory many idle sockets take in the server. At the end each receives one
//! message, which proves that it was open.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::Uuid;

use crate::{
    expected::Expected,
    figures::micros,
    message::Message,
    poster::{Answer, Poster},
    process::{raise_open_files, resident_kb},
    target::{Channel, Socket, Target},
};

/// How many sockets are being opened at a time.
const OPENING: usize = 64;
/// How long the one message may take to reach every socket.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes a socket reads at once.
const READ_BUFFER: usize = 1024;
/// The n of the number that is broadcast.
const N: u64 = 90;
/// How many files are open besides the sockets.
const OTHER_FILES: u64 = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How many private sockets to open.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    sockets: NonZeroUsize,
    /// The process of the server, whose memory is reported.
    #[arg(long, value_name = "PID")]
    pid: u32,
}

/// The figures of the sockets. A KB is 1000 bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    sockets: usize,
    opened_in_us: f64,
    broadcast_in_us: f64,
    server_kb_without_sockets: u64,
    server_kb_per_socket: f64,
    server_kb_per_socket_after_broadcast: f64,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let count = args.sockets.get();
    raise_open_files(count as u64 + OTHER_FILES)?;
    let without_kb = resident_kb(args.pid)?;
    let start = Instant::now();
    let mut sockets: Vec<Socket> = stream::iter(0..count)
        .map(|_| open(&args.url))
        .buffer_unordered(OPENING)
        .try_collect()
        .await
        .context("opening all sockets (the server needs one open file for each)")?;
    let (opened_in, idle_kb) = (start.elapsed(), resident_kb(args.pid)?);
    let start = Instant::now();
    timeout(PATIENCE, broadcast(&args.url, &mut sockets))
        .await
        .with_context(|| format!("a message did not reach every socket within {PATIENCE:?}"))??;
    let (broadcast_in, used_kb) = (start.elapsed(), resident_kb(args.pid)?);
    let per_socket = |kb: u64| kb.saturating_sub(without_kb) as f64 / count as f64;
    Ok(Report {
        sockets: count,
        opened_in_us: micros(opened_in),
        broadcast_in_us: micros(broadcast_in),
        server_kb_without_sockets: without_kb,
        server_kb_per_socket: per_socket(idle_kb),
        server_kb_per_socket_after_broadcast: per_socket(used_kb),
    })
}

async fn open(target: &Target) -> anyhow::Result<Socket> {
    target.socket(&Channel::private(), READ_BUFFER).await
}

/// Posts a job whose result is broadcast, and waits until every socket has received that.
async fn broadcast(target: &Target, sockets: &mut [Socket]) -> anyhow::Result<()> {
    let id = Uuid::now_v7();
    let answer = Poster::new(target, N, &Channel::Broadcast).post(id).await?;
    ensure!(
        answer == Answer::Accepted(id),
        "the job was answered {answer:?}"
    );
    let mut expected = Expected::of(N);
    for socket in sockets {
        let value = result(socket, id).await?;
        ensure!(
            expected.is(&value),
            "a socket received a wrong value: {value}"
        );
    }
    Ok(())
}

async fn result(socket: &mut Socket, id: Uuid) -> anyhow::Result<String> {
    loop {
        let frame = socket.next().await.context("a socket was closed")??;
        if let Frame::Text(text) = frame
            && let Some(Message {
                id: of,
                value: Some(value),
                ..
            }) = Message::parse(&text)
            && of == id
        {
            return Ok(value.to_owned());
        }
    }
}
