//! `bench large`: one number of many digits, until all of them are here.

use std::{
    io::Write,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use tokio::{task::spawn_blocking, time::timeout};
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};
use uuid::Uuid;

use crate::{
    expected::Expected,
    figures::{self, Times, row, significant},
    load::{Load, Sockets},
    message::{self, Message},
    poster::{Answer, Poster},
    target::{Channel, Target},
};

/// What the socket reads at once, in bytes.
const READ_BUFFER: usize = 256 * 1024;
/// The number that the small jobs beside ask for.
const SMALL_N: u64 = 90;
/// How long a small job may take.
const SMALL_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where fibwire runs.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// Which Fibonacci number.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    n: u64,
    /// How many times, one after the other.
    #[arg(long, value_name = "COUNT", default_value = "5")]
    runs: NonZeroU32,
    /// Keep one small job in flight meanwhile, and measure that.
    #[arg(long)]
    beside: bool,
    /// How many seconds the computation takes without the rest, to compare with.
    #[arg(long, value_name = "SECONDS")]
    alone: Option<f64>,
    /// How many seconds one run may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// Print a row of a Markdown table, headed by this label.
    #[arg(long, value_name = "LABEL")]
    row: Option<String>,
}

pub(crate) async fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let expected = Expected::of(args.n);
    let runs = async {
        let mut numbers = Vec::new();
        for _ in 0..args.runs.get() {
            let asked = ask(&args.url, args.n);
            let number = timeout(Duration::from_secs(args.patience), asked)
                .await
                .context("not all digits came in time")??;
            numbers.push(number);
        }
        anyhow::Ok(numbers)
    };
    let (numbers, small) = if args.beside {
        let (numbers, small) = beside(&args.url, runs).await?;
        (numbers, Some(small))
    } else {
        (runs.await?, None)
    };
    for number in &numbers {
        number.check(&expected)?;
    }
    print(&args, &numbers, small.as_ref(), out)
}

fn print(
    args: &Args,
    numbers: &[Number],
    small: Option<&Times>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut arrivals: Vec<_> = numbers
        .iter()
        .map(|number| (number.arrived, number.computed))
        .collect();
    arrivals.sort_unstable();
    let (best, computed) = arrivals[0];
    let (median, _) = arrivals[arrivals.len() / 2];
    let ratio = args.alone.map_or_else(
        || "—".to_owned(),
        |alone| format!("{}×", significant(best.as_secs_f64() / alone)),
    );
    let [best, computed, median] = [best, computed, median].map(figures::time);
    let small = small.map(|times| {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|at| figures::time(times.quantile(at)));
        [times.count().to_string(), p50, p99, max]
    });
    if let Some(label) = &args.row {
        let small = small.unwrap_or_else(|| ["—"; 4].map(str::to_owned));
        let cells = [label.clone(), best, computed, ratio, median];
        writeln!(out, "{}", row(cells.into_iter().chain(small)))?;
        return Ok(());
    }
    writeln!(
        out,
        "all digits of F({}) in {best} ({computed} of it computing, {ratio} the computation alone), \
         the median of {} runs {median}",
        args.n, args.runs
    )?;
    if let Some([count, p50, p99, max]) = small {
        writeln!(
            out,
            "{count} small jobs beside: p50 {p50}, p99 {p99}, max {max}"
        )?;
    }
    Ok(())
}

/// A number that came over a socket.
struct Number {
    /// How long that took from the POST on.
    arrived: Duration,
    /// How much of it the server says that it was computing.
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
    /// Checks that these are all the digits, each once and in order.
    fn check(&self, expected: &Expected) -> anyhow::Result<()> {
        let mut pieces = Vec::new();
        let mut parts = 0;
        for text in &self.messages {
            let message = Message::parse(text).context("a message of the protocol")?;
            if let Some(value) = message.value {
                ensure!(
                    message.index == pieces.len(),
                    "part {} came out of order",
                    message.index
                );
                pieces.push(value);
            }
            parts = parts.max(message.parts);
        }
        ensure!(
            pieces.len() == parts.max(1),
            "{} parts came of {parts}",
            pieces.len()
        );
        let came: usize = pieces.iter().map(|piece| piece.len()).sum();
        ensure!(came == self.digits, "{came} digits came of {}", self.digits);
        ensure!(expected.is_in_pieces(pieces), "the value is wrong");
        Ok(())
    }
}

/// Does `work` with a small job in flight at any time, on a thread of its own so that the reading
/// of a long number does not count as the small jobs' time.
async fn beside<T>(
    target: &Target,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Times)> {
    let over = Arc::new(AtomicBool::new(false));
    let small = spawn_blocking({
        let (target, over) = (target.clone(), Arc::clone(&over));
        move || crate::alone(small_jobs(target, over))
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
