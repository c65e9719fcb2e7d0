//! `bench crowd`: many sockets stay open while a server is disturbed. Each comes back by itself to where it
//! was, as the page does, and in the end all of them must have received the same.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io::Write,
    num::{NonZeroU64, NonZeroUsize},
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use futures_util::{
    StreamExt,
    future::{Either, join_all, select},
};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Message as Frame, protocol::frame::coding::CloseCode};
use uuid::Uuid;

use crate::{
    figures::micros,
    message::Message,
    poster::{Answer, Poster},
    process::raise_open_files,
    target::{Channel, Socket, Target},
    trip,
};

/// How many sockets are being opened at a time when the crowd gathers.
const OPENING: usize = 64;
/// How long a socket may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes a socket reads at once.
const READ_BUFFER: usize = 1024;
/// The pauses of the page before it opens a lost socket again: the first, which doubles, and the longest. Each
/// is shortened by up to a half, at random.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// Its first pause after a server has gone away. The next ones are the longest.
const AWAY_PAUSE: Duration = Duration::from_secs(2);
/// How long the last job may take to be accepted, and to reach every socket.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many files are open besides the sockets.
const OTHER_FILES: u64 = 64;
/// The n of the first job and of the last one.
const N: u64 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How many sockets to open.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    sockets: NonZeroUsize,
    /// The time for which to keep them open.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    seconds: NonZeroU64,
}

#[derive(Debug, Serialize)]
struct Gathered {
    event: &'static str,
    gathered_unix_s: f64,
    opened_in_us: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    sockets: usize,
    /// The ends of jobs that all sockets together received.
    ends: u64,
    /// How many sockets did not receive what most did.
    missed: usize,
    /// How many sockets did not receive the last job.
    unread: usize,
    gaps: u64,
    not_opened: u64,
    /// How many sockets were opened again in each second since the crowd had gathered.
    reopened_by_second: Vec<u64>,
}

#[derive(Debug, Default)]
struct Tally {
    opened: usize,
    gaps: u64,
    not_opened: u64,
    reopened: Vec<Instant>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The last job has ended.
    Read,
    /// The server said that it goes away.
    Away,
    Lost,
}

/// The messages that one socket received, over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Received {
    ends: u64,
    /// The sum of their places.
    seqs: u64,
}

/// How long a socket has been trying to come back.
#[derive(Debug, Default)]
struct BackOff {
    failures: u32,
    /// Whether the server said that it goes away, and no other has been there since.
    away: bool,
}

struct Crowd<'a> {
    url: &'a Target,
    /// The place at which every socket begins.
    place: u64,
    /// The job with which every socket ends.
    last: Uuid,
    /// All have the same channel, so that the last job is nobody else's.
    channel: Channel,
    doors: Semaphore,
    tally: RefCell<Tally>,
    gathered: watch::Sender<bool>,
    size: usize,
}

/// Writes a line when all sockets are open, and then the report.
pub(crate) async fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let size = args.sockets.get();
    raise_open_files(size as u64 + OTHER_FILES)?;
    let crowd = Crowd {
        url: &args.url,
        place: trip::make(&args.url, N).await.context("first job")?.seq,
        last: Uuid::now_v7(),
        channel: Channel::private(),
        doors: Semaphore::new(OPENING),
        tally: RefCell::default(),
        gathered: watch::Sender::new(false),
        size,
    };
    let start = Instant::now();
    let members: Vec<Cell<Option<Received>>> = (0..size).map(|_| Cell::default()).collect();
    let all = join_all(members.iter().map(async |received| {
        received.set(Some(crowd.stay().await));
    }));
    let conducted = async {
        let mut gathered = crowd.gathered.subscribe();
        timeout(PATIENCE, gathered.wait_for(|gathered| *gathered))
            .await
            .context("opening all sockets in time")?
            .context("a crowd that gathers")?;
        let since = Instant::now();
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("clock")?;
        let line = Gathered {
            event: "gathered",
            gathered_unix_s: unix.as_secs_f64(),
            opened_in_us: micros(start.elapsed()),
        };
        write_line(out, &line)?;
        sleep_until(since + Duration::from_secs(args.seconds.get())).await;
        crowd.post_last().await?;
        anyhow::Ok(since)
    };
    let since = match select(pin!(conducted), all).await {
        Either::Left((since, all)) => {
            let since = since?;
            // The report counts the sockets that have not received the last job by then.
            timeout(PATIENCE, all).await.ok();
            since
        }
        // Everyone may have the end of the last job before its 202 is there.
        Either::Right((_, conducted)) => conducted.await?,
    };
    let received: Vec<_> = members.iter().filter_map(Cell::get).collect();
    let report = crowd.report(&received, since);
    write_line(out, &report)
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line).context("standard output")?;
    writeln!(out).context("standard output")?;
    out.flush().context("standard output")
}

impl BackOff {
    /// The longest pause before the next attempt.
    fn longest_pause(&mut self, end: End) -> Duration {
        let [first, longest] = PAUSES;
        if self.away {
            return longest;
        }
        self.away = end == End::Away;
        if self.away {
            return AWAY_PAUSE;
        }
        let pause = longest.min(first * 2_u32.pow(self.failures));
        // No pause is longer than the longest, so there is no need to count any further.
        self.failures = (self.failures + 1).min(10);
        pause
    }
}

impl Crowd<'_> {
    /// Receives everything up to the last job, over as many connections as that takes.
    async fn stay(&self) -> Received {
        let mut received = Received::default();
        let mut place = self.place;
        let mut back_off = BackOff::default();
        let mut is_back = false;
        loop {
            let mut end = End::Lost;
            if let Some(mut socket) = self.open(place, is_back).await {
                back_off = BackOff::default();
                is_back = true;
                end = self.read(&mut socket, &mut received, &mut place).await;
                if end == End::Read {
                    return received;
                }
            } else {
                self.tally.borrow_mut().not_opened += 1;
            }
            let pause = back_off.longest_pause(end);
            sleep_until(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    async fn open(&self, place: u64, is_back: bool) -> Option<Socket> {
        // Only at first: whoever comes back does so without regard to others.
        let _door = match is_back {
            false => self.doors.acquire().await.ok(),
            true => None,
        };
        let opening = self.url.socket_since(&self.channel, place, READ_BUFFER);
        let socket = timeout(OPEN_TIMEOUT, opening).await.ok()?.ok()?;
        let mut tally = self.tally.borrow_mut();
        if is_back {
            tally.reopened.push(Instant::now());
        } else {
            tally.opened += 1;
            if tally.opened == self.size {
                self.gathered.send_replace(true);
            }
        }
        Some(socket)
    }

    /// Reads until the socket is lost, or until the end of the last job.
    async fn read(&self, socket: &mut Socket, received: &mut Received, place: &mut u64) -> End {
        let mut end = End::Lost;
        while let Some(Ok(frame)) = socket.next().await {
            let text = match frame {
                Frame::Text(text) => text,
                Frame::Close(Some(close)) if close.code == CloseCode::Away => {
                    end = End::Away;
                    continue;
                }
                _ => continue,
            };
            let Some(message) = Message::parse(&text) else {
                continue;
            };
            *place = message.seq;
            match message.kind {
                "gap" => self.tally.borrow_mut().gaps += 1,
                "result" | "failed" => {
                    received.ends += 1;
                    received.seqs = received.seqs.wrapping_add(message.seq);
                    if message.id == self.last {
                        return End::Read;
                    }
                }
                _ => {}
            }
        }
        end
    }

    /// Posts the job with which every socket ends.
    async fn post_last(&self) -> anyhow::Result<()> {
        let mut poster = Poster::new(self.url, N, &self.channel);
        let posting = async {
            while !matches!(poster.post(self.last).await, Ok(Answer::Accepted(_))) {
                sleep_until(Instant::now() + PAUSES[0]).await;
            }
        };
        timeout(PATIENCE, posting).await.context("last job")
    }

    fn report(&self, received: &[Received], since: Instant) -> Report {
        let tally = self.tally.borrow();
        let mut alike: HashMap<Received, usize> = HashMap::new();
        for of_one in received {
            *alike.entry(*of_one).or_default() += 1;
        }
        let most = alike.values().max().copied().unwrap_or_default();
        let mut reopened_by_second = Vec::new();
        for at in &tally.reopened {
            let second = usize::try_from(at.duration_since(since).as_secs()).expect("a short run");
            if reopened_by_second.len() <= second {
                reopened_by_second.resize(second + 1, 0);
            }
            reopened_by_second[second] += 1;
        }
        Report {
            event: "report",
            sockets: self.size,
            ends: received.iter().map(|of_one| of_one.ends).sum(),
            missed: received.len() - most,
            unread: self.size - received.len(),
            gaps: tally.gaps,
            not_opened: tally.not_opened,
            reopened_by_second,
        }
    }
}
