//! `bench load`: a closed loop. So many posters each post a job, wait for its 202 and its result,
//! and post the next.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    num::{NonZeroU64, NonZeroUsize},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, future::join_all};
use tokio::{sync::Notify, time::timeout};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    figures::{self, Times, row, significant},
    ledger::{Fault, Ledger},
    poster::Poster,
    process,
    target::{Channel, Socket, Target},
};

/// How many jobs go ahead of those that are measured.
const WARM_UP_JOBS: u64 = 1000;
/// How long to listen on for what must not come.
const LISTEN_ON: Duration = Duration::from_millis(300);
/// What a socket reads at once, in bytes.
const READ_BUFFER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where fibwire runs.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How many jobs are under way at any time.
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
    /// For how long to measure instead.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<NonZeroU64>,
    /// Which Fibonacci number every job asks for; its result has to fit into one message.
    #[arg(long, value_name = "N", default_value_t = 90)]
    n: u64,
    /// Over which sockets the results come: `one` that gets the broadcasts, a `private` one, or so
    /// many of these as in `private=64`.
    #[arg(long, value_name = "SOCKETS", default_value = "one")]
    sockets: Sockets,
    /// After how many seconds a result counts as missing.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Process of the server, to say how much time of a core a job took there. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Print a row of a Markdown table, headed by this label.
    #[arg(long, value_name = "LABEL")]
    row: Option<String>,
}

/// Over which sockets the results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    Broadcast,
    Private(NonZeroUsize),
}

/// The text says no sockets.
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

pub(crate) async fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let patience = Duration::from_secs(args.patience);
    let mut load = Load::connect(&args.url, args.n, args.in_flight, args.sockets, patience).await?;
    load.drive(&countdown(WARM_UP_JOBS)).await?;
    load.warmed_up();

    let (cpu_before, start) = (Cpu::now(&args.pid)?, Instant::now());
    match args.seconds {
        Some(seconds) => {
            let until = start + Duration::from_secs(seconds.get());
            load.drive(&|| Instant::now() < until).await?;
        }
        None => load.drive(&countdown(args.jobs.get())).await?,
    }
    let elapsed = start.elapsed();
    let cpu = Cpu::now(&args.pid)?.since(cpu_before);
    let times = load.close().await?;
    print(&args, &times, elapsed, cpu, out)
}

/// For how long cores were busy.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    server: Duration,
    driver: Duration,
}

impl Cpu {
    fn now(server: &[u32]) -> anyhow::Result<Self> {
        Ok(Self {
            server: process::cpu_time(server)?,
            driver: process::cpu_time(&[std::process::id()])?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            driver: self.driver.saturating_sub(before.driver),
        }
    }
}

/// True so many times.
fn countdown(count: u64) -> impl Fn() -> bool {
    let left = Cell::new(count);
    move || {
        let more = left.get() > 0;
        left.set(left.get().saturating_sub(1));
        more
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn print(
    args: &Args,
    times: &Times,
    elapsed: Duration,
    cpu: Cpu,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let jobs = times.count() as f64;
    let rate = format!("{:.0}", jobs / elapsed.as_secs_f64());
    let each = |cpu: Duration| format!("{} µs", significant(cpu.as_secs_f64() * 1e6 / jobs));
    let server = if args.pid.is_empty() {
        "—".to_owned()
    } else {
        each(cpu.server)
    };
    let driver = each(cpu.driver);
    let quantiles = times.quantiles();
    if let Some(label) = &args.row {
        let quantiles = quantiles.map(|(_, time)| time);
        let cells = [label.clone(), rate].into_iter().chain(quantiles);
        writeln!(out, "{}", row(cells.chain([server, driver])))?;
        return Ok(());
    }
    writeln!(
        out,
        "{jobs} jobs in {}, {rate} a second",
        figures::time(elapsed)
    )?;
    for (name, time) in quantiles {
        writeln!(out, "{name:>6}  {time}")?;
    }
    writeln!(out, "cores' time a job: server {server}, driver {driver}")?;
    Ok(())
}

/// Posters, the sockets that their results come over, and the account of it.
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

    /// Keeps every poster busy for as long as there is `more` to post, then waits for the rest.
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
        let posting = join_all(
            posters
                .map(|(place, (poster, done))| post(poster, place, done, more, ledger, *patience)),
        );
        let reading = join_all(sockets.iter_mut().map(|socket| read(socket, &done, ledger)));
        tokio::select! {
            _ = posting => Ok(()),
            _ = reading => bail!("every socket was closed by the server"),
        }
    }

    /// Forgets how long the jobs so far took.
    pub(crate) fn warmed_up(&mut self) {
        self.ledger.get_mut().warmed_up();
    }

    /// Listens a while for results too many, then says how long the jobs took.
    ///
    /// # Errors
    ///
    /// When not every job had its one right result.
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
    place: usize,
    done: &Notify,
    more: &impl Fn() -> bool,
    ledger: &RefCell<Ledger>,
    patience: Duration,
) {
    while more() {
        let id = Uuid::now_v7();
        ledger.borrow_mut().post(id, place);
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

/// Reads until the socket is closed.
async fn read(socket: &mut Socket, done: &[Notify], ledger: &RefCell<Ledger>) {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let done_by = ledger.borrow_mut().receive(&text, Instant::now());
                if let Some(done) = done_by.and_then(|place| done.get(place)) {
                    done.notify_one();
                }
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    ledger.borrow_mut().fault(Fault::SocketClosed);
}
