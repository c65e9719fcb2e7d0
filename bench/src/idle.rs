//! `bench idle`: many sockets that get nothing, and then one message each, which shows that they
//! were open.

use std::{
    io::Write,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::Uuid;

use crate::{
    expected::Expected,
    figures::{self, significant},
    message::Message,
    poster::{Answer, Poster},
    process::resident_kb,
    target::{Channel, Socket, Target},
};

/// How many sockets are being opened at a time.
const OPENING: usize = 64;
/// How long the one message may take to reach every socket.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a socket reads at once, in bytes.
const READ_BUFFER: usize = 1024;
/// The number that is broadcast.
const N: u64 = 90;
/// Open files beside the sockets.
const OTHER_FILES: u64 = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where fibwire runs.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How many sockets to open, each private.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    sockets: NonZeroUsize,
    /// Process of the server, whose memory is looked at.
    #[arg(long, value_name = "PID")]
    pid: u32,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) async fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let count = args.sockets.get();
    raise_open_files(count as u64 + OTHER_FILES)?;
    let alone_kb = resident_kb(args.pid)?;
    let start = Instant::now();
    let mut sockets: Vec<Socket> = stream::iter(0..count)
        .map(|_| open(&args.url))
        .buffer_unordered(OPENING)
        .try_collect()
        .await
        .context("not every socket could be opened; the server needs as many open files, too")?;
    let (opened_in, idle_kb) = (start.elapsed(), resident_kb(args.pid)?);
    let start = Instant::now();
    timeout(PATIENCE, broadcast(&args.url, &mut sockets))
        .await
        .with_context(|| format!("a message did not reach every socket within {PATIENCE:?}"))??;
    let (reached_in, used_kb) = (start.elapsed(), resident_kb(args.pid)?);
    let each = |kb: u64| significant(kb.saturating_sub(alone_kb) as f64 / count as f64);
    writeln!(
        out,
        "{} MB without sockets; {count} sockets, opened in {}, {} KB each; {} KB each after a \
         broadcast, which reached all in {}",
        significant(alone_kb as f64 / 1e3),
        figures::time(opened_in),
        each(idle_kb),
        each(used_kb),
        figures::time(reached_in),
    )?;
    Ok(())
}

async fn open(target: &Target) -> anyhow::Result<Socket> {
    target.socket(&Channel::private(), READ_BUFFER).await
}

/// Posts a job for everybody and waits until every socket has its result.
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
        ensure!(expected.is(&value), "a wrong value came: {value}");
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

/// Lets this process open so many files.
fn raise_open_files(needed: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        ensure!(
            limit.maximum.is_none_or(|maximum| maximum >= needed),
            "{needed} open files are needed, and this process may have {}: raise `ulimit -Hn`",
            limit.maximum.unwrap_or_default()
        );
        limit.current = Some(needed);
        setrlimit(Resource::Nofile, limit).context("limit of open files")?;
    }
    Ok(())
}
