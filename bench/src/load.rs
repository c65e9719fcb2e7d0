//! `bench load`: a closed loop. Each of a number of posters posts a job, waits for its 202 and its
//! result, and then posts the next.

use std::{
    cell::{Cell, RefCell},
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, future::join_all};
use serde::Serialize;
use tokio::{sync::Notify, time::timeout};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    disk,
    figures::{Quantiles, Times, micros},
    ledger::{Fault, Ledger},
    poster::Poster,
    process,
    target::{Channel, Socket, Target},
};

/// How many jobs are done before the measurement starts.
const WARM_UP_JOBS: u64 = 1000;
/// How long to go on listening for messages that must not arrive.
const LISTEN_ON: Duration = Duration::from_millis(300);
/// How many bytes a socket reads at once.
const READ_BUFFER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How many jobs to keep in flight.
    #[arg(long, value_name = "COUNT", default_value = "64")]
    in_flight: NonZeroUsize,
    /// How many jobs to measure.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "50000",
        conflicts_with = "seconds"
    )]
    jobs: NonZeroU64,
    /// The time for which to measure, instead of a number of jobs.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<NonZeroU64>,
    /// Which Fibonacci number every job requests. Its result must fit into one message.
    #[arg(long, value_name = "N", default_value_t = 90)]
    n: u64,
    /// The sockets that receive the results: `one` for broadcasts, one `private` socket, or several
    /// private ones, as in `private=64`.
    #[arg(long, value_name = "SOCKETS", default_value = "one")]
    sockets: Sockets,
    /// The seconds after which a result counts as missing.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// A process of the server, whose CPU time per job is reported. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// A directory on the server's disk, whose syncs per job are reported. The syncs of all other
    /// processes on that disk are counted as well.
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// The figures of a load.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    n: u64,
    in_flight: usize,
    /// These are not among `jobs`, nor is their time.
    warm_up_jobs: u64,
    jobs: u64,
    elapsed_s: f64,
    jobs_per_second: f64,
    #[serde(flatten)]
    times: Quantiles,
    server_cpu_us_per_job: Option<f64>,
    driver_cpu_us_per_job: f64,
    syncs_per_job: Option<f64>,
}

/// The sockets that receive the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    Broadcast,
    Private(NonZeroUsize),
}

/// The text does not name any sockets.
#[derive(Debug, thiserror::Error)]
#[error("neither `one` nor `private` nor of the form private=COUNT")]
pub(crate) struct InvalidSockets;

impl FromStr for Sockets {
    type Err = InvalidSockets;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None if text == "one" => Ok(Self::Broadcast),
            None if text == "private" => Ok(Self::Private(NonZeroUsize::MIN)),
            Some(("private", count)) => {
                count.parse().map(Self::Private).map_err(|_| InvalidSockets)
            }
            _ => Err(InvalidSockets),
        }
    }
}

impl Sockets {
    fn channels(self) -> Vec<Channel> {
        match self {
            Self::Broadcast => vec![Channel::Broadcast],
            Self::Private(count) => (0..count.get()).map(|_| Channel::private()).collect(),
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let patience = Duration::from_secs(args.patience);
    let mut load = Load::connect(&args.url, args.n, args.in_flight, args.sockets, patience).await?;
    load.drive(&countdown(WARM_UP_JOBS)).await?;
    load.warmed_up();

    let (before, start) = (Usage::now(&args)?, Instant::now());
    match args.seconds {
        Some(seconds) => {
            let until = start + Duration::from_secs(seconds.get());
            load.drive(&|| Instant::now() < until).await?;
        }
        None => load.drive(&countdown(args.jobs.get())).await?,
    }
    let elapsed = start.elapsed();
    let after = Usage::now(&args)?;
    let times = load.close().await?;
    Ok(report(&args, &times, elapsed, before, after))
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn report(args: &Args, times: &Times, elapsed: Duration, before: Usage, after: Usage) -> Report {
    let jobs = times.count() as f64;
    let server_cpu = after.server_cpu.saturating_sub(before.server_cpu);
    let driver_cpu = after.driver_cpu.saturating_sub(before.driver_cpu);
    let syncs = after.syncs.zip(before.syncs);
    Report {
        n: args.n,
        in_flight: args.in_flight.get(),
        warm_up_jobs: WARM_UP_JOBS,
        jobs: times.count(),
        elapsed_s: elapsed.as_secs_f64(),
        jobs_per_second: jobs / elapsed.as_secs_f64(),
        times: times.quantiles(),
        server_cpu_us_per_job: (!args.pid.is_empty()).then(|| micros(server_cpu) / jobs),
        driver_cpu_us_per_job: micros(driver_cpu) / jobs,
        syncs_per_job: syncs.map(|(after, before)| (after - before) as f64 / jobs),
    }
}

/// The resources that were used until a point in time.
#[derive(Debug, Clone, Copy)]
struct Usage {
    server_cpu: Duration,
    driver_cpu: Duration,
    /// `None` when nobody counts them.
    syncs: Option<u64>,
}

impl Usage {
    fn now(args: &Args) -> anyhow::Result<Self> {
        Ok(Self {
            server_cpu: process::cpu_time(&args.pid)?,
            driver_cpu: process::cpu_time(&[std::process::id()])?,
            syncs: match &args.disk {
                Some(dir) => disk::flushes(dir)?,
                None => None,
            },
        })
    }
}

/// Returns true `count` times, and false from then on.
fn countdown(count: u64) -> impl Fn() -> bool {
    let left = Cell::new(count);
    move || {
        let more = left.get() > 0;
        left.set(left.get().saturating_sub(1));
        more
    }
}

/// The posters, the sockets that receive their results, and the ledger of their jobs.
pub(crate) struct Load {
    posters: Vec<Poster>,
    sockets: Vec<Socket>,
    ledger: RefCell<Ledger>,
    patience: Duration,
}

impl Load {
    /// Opens all connections.
    pub(crate) async fn connect(
        target: &Target,
        n: u64,
        in_flight: NonZeroUsize,
        sockets: Sockets,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let channels = sockets.channels();
        let mut sockets = Vec::new();
        for channel in &channels {
            sockets.push(target.socket(channel, READ_BUFFER).await?);
        }
        let mut posters: Vec<_> = channels
            .iter()
            .cycle()
            .take(in_flight.get())
            .map(|channel| Poster::new(target, n, channel))
            .collect();
        for poster in &mut posters {
            poster.connect().await.context("connection")?;
        }
        Ok(Self {
            posters,
            sockets,
            ledger: RefCell::new(Ledger::new(n)),
            patience,
        })
    }

    /// Keeps every poster busy for as long as there is `more` to post, then waits for the jobs that
    /// are still in flight.
    ///
    /// # Errors
    ///
    /// When the server has closed every socket.
    pub(crate) async fn drive(&mut self, more: &impl Fn() -> bool) -> anyhow::Result<()> {
        let Self {
            posters,
            sockets,
            ledger,
            patience,
        } = self;
        let done: Vec<_> = posters.iter().map(|_| Notify::new()).collect();
        let posters = posters.iter_mut().zip(&done).enumerate();
        let posting =
            join_all(posters.map(|(number, (poster, done))| {
                post(poster, number, done, more, ledger, *patience)
            }));
        let reading = join_all(sockets.iter_mut().map(|socket| read(socket, &done, ledger)));
        tokio::select! {
            _ = posting => Ok(()),
            _ = reading => bail!("every socket was closed by the server"),
        }
    }

    /// Discards the times of all jobs so far.
    pub(crate) fn warmed_up(&mut self) {
        self.ledger.get_mut().warmed_up();
    }

    /// Listens a little longer for messages that must not arrive, then returns how long the jobs
    /// took.
    ///
    /// # Errors
    ///
    /// When a job did not end in exactly one right result.
    pub(crate) async fn close(mut self) -> anyhow::Result<Times> {
        let reading = self
            .sockets
            .iter_mut()
            .map(|socket| read(socket, &[], &self.ledger));
        timeout(LISTEN_ON, join_all(reading)).await.ok();
        Ok(self.ledger.into_inner().close()?)
    }
}

async fn post(
    poster: &mut Poster,
    number: usize,
    done: &Notify,
    more: &impl Fn() -> bool,
    ledger: &RefCell<Ledger>,
    patience: Duration,
) {
    while more() {
        let id = Uuid::now_v7();
        ledger.borrow_mut().post(id, number);
        let exchange = async {
            let answer = poster.post(id).await;
            if ledger.borrow_mut().answered(id, answer) {
                done.notified().await;
            }
        };
        if timeout(patience, exchange).await.is_err() {
            ledger.borrow_mut().give_up(id);
        }
    }
}

/// Reads messages until the server closes the socket.
async fn read(socket: &mut Socket, done: &[Notify], ledger: &RefCell<Ledger>) {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let done_by = ledger.borrow_mut().receive(&text, Instant::now());
                if let Some(done) = done_by.and_then(|number| done.get(number)) {
                    done.notify_one();
                }
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    ledger.borrow_mut().fault(Fault::SocketClosed);
}
