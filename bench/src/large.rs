//! `bench large`: how long it takes until all digits of one long number have arrived.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::{task::spawn_blocking, time::timeout};
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};
use uuid::Uuid;

use crate::{
    expected::Expected,
    figures::{Quantiles, Times, micros},
    load::{Load, Sockets},
    message::{self, Message},
    poster::{Answer, Poster},
    runtime::on_this_thread,
    target::{Channel, Target},
};

/// How many bytes the socket reads at once.
const READ_BUFFER: usize = 256 * 1024;
/// The n of the small jobs.
const SMALL_N: u64 = 90;
/// How long a small job may take.
const SMALL_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// Which Fibonacci number to request.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    n: u64,
    /// How many times to request it, one after the other.
    #[arg(long, value_name = "COUNT", default_value = "5")]
    runs: NonZeroU32,
    /// Keep one small job in flight at the same time, and measure these jobs too.
    #[arg(long)]
    with_small_jobs: bool,
    /// How many seconds one request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
}

/// The figures of the runs. `best_computing_us` is how long the server says that it computed in the
/// best run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    n: u64,
    runs: u32,
    best_us: f64,
    best_computing_us: f64,
    median_us: f64,
    small_jobs: Option<SmallJobs>,
}

/// The figures of the small jobs that were in flight during the runs.
#[derive(Debug, Serialize)]
struct SmallJobs {
    count: u64,
    #[serde(flatten)]
    times: Quantiles,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let expected = Expected::of(args.n);
    let runs = async {
        let mut numbers = Vec::new();
        for _ in 0..args.runs.get() {
            let asked = ask(&args.url, args.n);
            let number = timeout(Duration::from_secs(args.patience), asked)
                .await
                .context("not all digits arrived in time")??;
            numbers.push(number);
        }
        anyhow::Ok(numbers)
    };
    let (numbers, small) = if args.with_small_jobs {
        let (numbers, small) = with_small_jobs(&args.url, runs).await?;
        (numbers, Some(small))
    } else {
        (runs.await?, None)
    };
    for number in &numbers {
        number.check(&expected)?;
    }
    Ok(report(&args, &numbers, small.as_ref()))
}

fn report(args: &Args, numbers: &[Number], small: Option<&Times>) -> Report {
    let mut arrivals: Vec<_> = numbers
        .iter()
        .map(|number| (number.arrived, number.computed))
        .collect();
    arrivals.sort_unstable();
    let (best, computed) = arrivals[0];
    let (median, _) = arrivals[arrivals.len() / 2];
    Report {
        n: args.n,
        runs: args.runs.get(),
        best_us: micros(best),
        best_computing_us: micros(computed),
        median_us: micros(median),
        small_jobs: small.map(|times| SmallJobs {
            count: times.count(),
            times: times.quantiles(),
        }),
    }
}

/// A number that arrived over a socket.
struct Number {
    /// The time from the POST to the last digit.
    arrived: Duration,
    /// How much of that time the server says that it computed.
    computed: Duration,
    digits: usize,
    messages: Vec<Utf8Bytes>,
}

async fn ask(target: &Target, n: u64) -> anyhow::Result<Number> {
    let channel = Channel::private();
    let mut socket = target.socket(&channel, READ_BUFFER).await?;
    let mut poster = Poster::new(target, n, &channel);
    poster.connect().await.context("connection")?;
    let id = Uuid::now_v7();
    let start = Instant::now();
    let answer = poster.post(id).await.context("POST")?;
    ensure!(
        answer == Answer::Accepted(id),
        "the job was answered {answer:?}"
    );
    let mut messages = Vec::new();
    loop {
        let Frame::Text(text) = socket.next().await.context("the socket was closed")?? else {
            continue;
        };
        // The digits are checked after the clock has stopped: a part is half a megabyte, and reading
        // it takes time.
        match message::kind(&text) {
            Some("result") => {
                let arrived = start.elapsed();
                let result = Message::parse(&text).context("a result")?;
                let (digits, timings) = (result.digits, result.timings.context("timings")?);
                messages.push(text);
                return Ok(Number {
                    arrived,
                    computed: Duration::from_micros(timings.computed_us),
                    digits,
                    messages,
                });
            }
            Some("failed") => bail!("the job ended without a value: {text}"),
            _ => messages.push(text),
        }
    }
}

impl Number {
    /// Checks that the parts arrived in order, each once, and that their digits are F(n).
    fn check(&self, expected: &Expected) -> anyhow::Result<()> {
        let mut pieces = Vec::new();
        let mut parts = 0;
        for text in &self.messages {
            let message = Message::parse(text).context("a message of the protocol")?;
            if let Some(value) = message.value {
                ensure!(
                    message.index == pieces.len(),
                    "part {} arrived out of order",
                    message.index
                );
                pieces.push(value);
            }
            parts = parts.max(message.parts);
        }
        ensure!(
            pieces.len() == parts.max(1),
            "{} parts of {parts} arrived",
            pieces.len()
        );
        let arrived: usize = pieces.iter().map(|piece| piece.len()).sum();
        ensure!(
            arrived == self.digits,
            "{arrived} digits of {} arrived",
            self.digits
        );
        ensure!(expected.is_in_pieces(pieces), "the value is wrong");
        Ok(())
    }
}

/// Does `work` while there is always one small job in flight. The small jobs have a thread of their
/// own, so that their times do not include the reading of the long number.
async fn with_small_jobs<T>(
    target: &Target,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Times)> {
    let over = Arc::new(AtomicBool::new(false));
    let small = spawn_blocking({
        let (target, over) = (target.clone(), Arc::clone(&over));
        move || on_this_thread(small_jobs(target, over))
    });
    let done = work.await;
    over.store(true, Ordering::Relaxed);
    let times = small.await.context("small jobs")??;
    Ok((done?, times))
}

async fn small_jobs(target: Target, over: Arc<AtomicBool>) -> anyhow::Result<Times> {
    let (one, private) = (NonZeroUsize::MIN, Sockets::Private(NonZeroUsize::MIN));
    let mut load = Load::connect(&target, SMALL_N, one, private, SMALL_PATIENCE).await?;
    load.drive(&|| !over.load(Ordering::Relaxed)).await?;
    load.close().await
}
