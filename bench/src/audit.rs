//! `bench audit`: an open loop. Many clients post jobs at a fixed rate, whatever happens to the server
//! meanwhile, and at the end every job is accounted for by reading the log.
//!
//! Each client posts its jobs one after the other, each until it is accepted; what is due meanwhile
//! waits, and its time runs. A client also reads its channel all the time, over one socket after the
//! other. Whether a job ended exactly once is not decided by that, but by reading the log again from
//! the place before the first job to a job that is posted after everything has settled.

mod accounts;
mod plan;
mod reader;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io::Write,
    num::NonZeroU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use futures_util::future::{join, join_all};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use crate::{
    poster::Poster,
    target::{Channel, Target},
    trip,
};
use accounts::{Accounts, Reading, Report, Source};
use plan::{Plan, Size};
use reader::Reader;

pub use accounts::{Finding, Findings};

/// How long a POST may take to be answered.
const ANSWER: Duration = Duration::from_secs(5);
/// The pauses before a POST is tried again: the first, which doubles, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// The time for which an id is known after its job was accepted. After that, posting it again may be a new
/// job.
const ID_IS_KNOWN: Duration = Duration::from_secs(100);
/// How often to look whether all jobs have ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the log is read again, which holds ten minutes.
const READ_AGAIN: Duration = Duration::from_secs(240);
/// The n of the jobs that mark the places up to which the log is read.
const MARK_N: u64 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire. Nobody else may post public jobs there.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// Decides which client posts what, and when sockets are cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The time for which to post.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    seconds: NonZeroU64,
    /// How many jobs to post in a second.
    #[arg(long, value_name = "JOBS", default_value = "100")]
    rate: NonZeroU64,
    /// How often one of the jobs is a long one.
    #[arg(long, value_name = "SECONDS", default_value = "4")]
    long_every: NonZeroU64,
    /// How many clients post private jobs.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    private: usize,
    /// How many clients post public jobs.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    public: usize,
    /// How long a job may take that was accepted, and a reader to come to the end.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
    /// How long to wait after the last job has ended, so that a job that is delivered a second time
    /// can end a second time. The queue delivers a job again 10 s after the last word from its
    /// calculator.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    quiet: u64,
}

/// The data that all futures of a run share.
struct Run<'a, W> {
    args: &'a Args,
    size: Size,
    channels: Vec<Channel>,
    ids: Vec<Uuid>,
    /// For each time that the log is read while jobs are posted, the ids of the jobs, one for each
    /// client, up to which it is read.
    marks: Vec<Vec<Uuid>>,
    /// The ids of the jobs up to which everything is read in the end.
    last_marks: Vec<Uuid>,
    start: Instant,
    accounts: RefCell<Accounts>,
    out: &'a RefCell<W>,
}

#[derive(Debug, Serialize)]
struct Start {
    event: &'static str,
    started_unix_s: f64,
}

#[derive(Debug, Serialize)]
struct End {
    event: &'static str,
    seed: u64,
    rate: u64,
    posting_s: u64,
    settled_after_s: f64,
    #[serde(flatten)]
    report: Report,
}

/// Writes a line when it starts, one for each `started` and `part` of a long job, and at last the report.
pub(crate) async fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let out = RefCell::new(out);
    ensure!(args.private + args.public > 0, "there has to be a client");
    let size = Size {
        seed: args.seed,
        private_clients: args.private,
        public_clients: args.public,
        rate: args.rate.get(),
        posting: Duration::from_secs(args.seconds.get()),
        long_every: Duration::from_secs(args.long_every.get()),
    };
    let plans = size.plans();
    // Everything that follows is behind this job's place in the log.
    let opening = trip::make(&args.url, MARK_N).await.context("first job")?;
    let start = Instant::now();
    let started_unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("clock")?;
    write(
        &out,
        &Start {
            event: "started",
            started_unix_s: started_unix.as_secs_f64(),
        },
    )?;
    let marks = || plans.iter().map(|_| Uuid::now_v7()).collect();
    let readings = size.posting.as_secs() / READ_AGAIN.as_secs();
    let run = Run {
        args: &args,
        size,
        channels: (0..size.clients())
            .map(|client| match size.is_private(client) {
                true => Channel::private(),
                false => Channel::Broadcast,
            })
            .collect(),
        ids: plan::ids(&plans),
        marks: (0..readings).map(|_| marks()).collect(),
        last_marks: marks(),
        start,
        accounts: RefCell::new(Accounts::new(size, start.into_std())),
        out: &out,
    };
    let settled_after = run.all(&plans, opening.seq).await;
    let report = run.accounts.into_inner().close();
    let verdict = report.verdict();
    write(
        &out,
        &End {
            event: "report",
            seed: args.seed,
            rate: args.rate.get(),
            posting_s: args.seconds.get(),
            settled_after_s: settled_after.as_secs_f64(),
            report,
        },
    )?;
    Ok(verdict?)
}

fn write(out: &RefCell<impl Write>, line: &impl Serialize) -> anyhow::Result<()> {
    let mut out = out.borrow_mut();
    serde_json::to_writer(&mut *out, line).context("standard output")?;
    writeln!(out).context("standard output")?;
    out.flush().context("standard output")
}

impl<W: Write> Run<'_, W> {
    /// Does everything. Returns when the last job had ended, counted from the start.
    async fn all(&self, plans: &[Plan], place: u64) -> Duration {
        let (settled, _) = watch::channel(false);
        let settled_after = Cell::new(Duration::ZERO);
        let posting = async {
            let clients = plans.iter().enumerate();
            let mut posters = join_all(clients.map(|(client, plan)| self.post(client, plan))).await;
            self.settle().await;
            settled_after.set(self.start.elapsed());
            settled.send_replace(true);
            let posters = posters.iter_mut().enumerate();
            join_all(posters.map(|(client, poster)| self.post_last(client, poster))).await;
        };
        let readings: Vec<_> = [Source::Live, Source::Log]
            .into_iter()
            .flat_map(|of| (0..plans.len()).map(move |client| Reading { client, of }))
            .map(|reading| (reading, Cell::new(false)))
            .collect();
        let reading = join_all(readings.iter().map(async |(reading, is_over)| {
            let plan = &plans[reading.client];
            self.read(*reading, place, plan, settled.subscribe()).await;
            is_over.set(true);
        }));
        let patience = async {
            let mut until_settled = settled.subscribe();
            until_settled.wait_for(|settled| *settled).await.ok();
            sleep_until(Instant::now() + self.patience()).await;
        };
        tokio::select! {
            _ = join(posting, reading) => {}
            () = patience => {}
        }
        let mut accounts = self.accounts.borrow_mut();
        for (reading, is_over) in &readings {
            if !is_over.get() {
                accounts.unread(*reading);
            }
        }
        settled_after.get()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.args.patience)
    }

    /// Posts what a client has to post, and returns its poster.
    async fn post(&self, client: usize, plan: &Plan) -> Poster {
        let mut poster = Poster::new(&self.args.url, MARK_N, &self.channels[client]);
        let planned = plan.posts.iter().map(|post| {
            let id = self.ids[post.job];
            (post.at, id, post.n, post.repeats)
        });
        let marks = (1..).zip(&self.marks);
        let marks = marks.map(|(count, marks)| (READ_AGAIN * count, marks[client], MARK_N, false));
        let mut posts: Vec<_> = planned.chain(marks).collect();
        posts.sort_by_key(|(at, ..)| *at);
        for (at, id, n, repeats) in posts {
            let due = self.start + at;
            sleep_until(due).await;
            poster.switch_to(n, &self.channels[client]);
            if repeats {
                self.post_again(&mut poster, id).await;
            } else {
                self.accounts
                    .borrow_mut()
                    .due(id, n, client, due.into_std());
                self.post_until_accepted(&mut poster, id).await;
            }
        }
        poster
    }

    /// Posts the job up to which this client's readings go.
    async fn post_last(&self, client: usize, poster: &mut Poster) {
        let id = self.last_marks[client];
        poster.switch_to(MARK_N, &self.channels[client]);
        self.accounts.borrow_mut().due_last(id, MARK_N, client);
        self.post_until_accepted(poster, id).await;
    }

    async fn post_until_accepted(&self, poster: &mut Poster, id: Uuid) {
        let [mut pause, longest] = PAUSES;
        while !self.post_once(poster, id).await && self.start.elapsed() < self.give_up_after() {
            sleep_until(Instant::now() + pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Posts a job that was accepted, unless its id may have been forgotten since.
    async fn post_again(&self, poster: &mut Poster, id: Uuid) {
        let accepted = self.accounts.borrow().accepted(id);
        if accepted.is_some_and(|accepted| accepted.elapsed() < ID_IS_KNOWN) {
            self.post_once(poster, id).await;
        }
    }

    /// Whether the job has been accepted.
    async fn post_once(&self, poster: &mut Poster, id: Uuid) -> bool {
        let answer = timeout(ANSWER, poster.post(id)).await;
        self.accounts
            .borrow_mut()
            .answered(id, answer.ok().as_ref())
    }

    /// When clients stop trying, counted from the start. Nothing disturbs the server any more then.
    fn give_up_after(&self) -> Duration {
        self.size.posting + 2 * self.patience()
    }

    /// Waits until the accepted jobs have ended, or had the time to, and then for late ends.
    async fn settle(&self) {
        let deadline = Instant::now() + self.patience();
        while self.accounts.borrow().outstanding() > 0 && Instant::now() < deadline {
            sleep_until(Instant::now() + LOOK_EVERY).await;
        }
        sleep_until(Instant::now() + Duration::from_secs(self.args.quiet)).await;
    }

    async fn read(
        &self,
        reading: Reading,
        place: u64,
        plan: &Plan,
        mut settled: watch::Receiver<bool>,
    ) {
        let mut reader = Reader {
            target: &self.args.url,
            channel: &self.channels[reading.client],
            reading,
            place,
            accounts: &self.accounts,
            pieces: HashMap::new(),
            out: self.out,
        };
        let last = self.last_marks[reading.client];
        match reading.of {
            Source::Live => {
                let cuts: Vec<_> = plan.cuts.iter().map(|at| self.start + *at).collect();
                reader.read_to(last, &cuts).await;
            }
            Source::Log => {
                for (count, marks) in (1..).zip(&self.marks) {
                    sleep_until(self.start + READ_AGAIN * count).await;
                    reader.read_to(marks[reading.client], &[]).await;
                }
                settled.wait_for(|settled| *settled).await.ok();
                reader.read_to(last, &[]).await;
            }
        }
    }
}
