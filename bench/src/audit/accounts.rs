//! The accounts of an open loop: every job that was due, how its POSTs were answered, and each of its
//! ends as every reader saw it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt, io,
    ops::Range,
    time::{Duration, Instant},
};

use serde::Serialize;
use uuid::Uuid;

use crate::{
    audit::plan::Size,
    expected::Expected,
    figures::{Quantiles, Times},
    message::Message,
    poster::Answer,
};

/// Jobs with a larger n are long.
const MAX_SMALL_N: u64 = 1_000_000;
/// How many findings are described. All are counted.
const MAX_EXAMPLES: usize = 20;
/// How long a slot of the timeline is.
const SLOT_MS: u64 = 100;
/// The shortest time without an accepted job that is reported as a pause.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// Something that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// An accepted job has no end in the log.
    Lost,
    /// A job has more than one end in the log.
    Twice,
    /// A message or an answer contradicts what is known.
    Wrong,
    /// The sockets that a client had open one after the other did not receive what the log holds.
    Missed,
    /// A part of a value is in the log more than once.
    RepeatedPart,
    /// A reader was told that something is no longer held.
    Gap,
    /// A job was never accepted, although its client kept trying until after the last fault.
    Unaccepted,
    /// A reader did not come to the end of the log, so it is not known what it would have received.
    Unread,
}

/// The kinds of findings, and how many there are of each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(finding, count)| format!("{count} {finding}")).collect::<Vec<_>>().join(", "))]
pub struct Findings(pub BTreeMap<Finding, u64>);

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Twice => "ended twice",
            Self::Wrong => "wrong",
            Self::Missed => "missed by a socket",
            Self::RepeatedPart => "with a repeated part",
            Self::Gap => "gaps",
            Self::Unaccepted => "never accepted",
            Self::Unread => "readers without an end",
        })
    }
}

/// One reading of a channel: by sockets that follow it while jobs are posted, or of the log afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reading {
    pub(super) client: usize,
    pub(super) of: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The events that arrive, as they arrive.
    Live,
    /// The events that the log holds after some time.
    Log,
}

/// The jobs by their ids.
#[derive(Debug)]
pub(super) struct Accounts {
    size: Size,
    start: Instant,
    jobs: HashMap<Uuid, Job>,
    expected: HashMap<u64, Expected>,
    tally: Tally,
    found: BTreeMap<Finding, u64>,
    examples: Vec<Example>,
    unread: HashSet<usize>,
    repeated_parts: HashSet<Uuid>,
    reasons: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Job {
    n: u64,
    client: usize,
    due: Instant,
    accepted: Option<Instant>,
    /// When its client received its first end.
    ended: Option<Instant>,
    failed: bool,
    ends: Vec<End>,
    /// Whether the job only marks the end of its client's readings. The readings of other clients may end
    /// before it.
    is_last: bool,
}

#[derive(Debug)]
struct End {
    reading: Reading,
    seq: u64,
}

/// The outcome of a run, good and bad.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Tally {
    posts: u64,
    /// By their status.
    refused: BTreeMap<u16, u64>,
    not_answered: u64,
    repeats_of_accepted: u64,
    pub(super) sockets: u64,
    pub(super) sockets_not_opened: u64,
    pub(super) cuts: u64,
    messages: u64,
    bytes: u64,
}

/// The outcomes of the jobs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    jobs: usize,
    long_jobs: usize,
    accepted: usize,
    done: usize,
    failed: usize,
    /// Why, and how many.
    reasons: BTreeMap<String, u64>,
    /// By kind. A kind of which none was found is left out.
    findings: BTreeMap<Finding, u64>,
    examples: Vec<Example>,
    #[serde(flatten)]
    tally: Tally,
    /// The time from when a POST was due to its 202.
    accepted_after: Quantiles,
    /// The time from when a small job's POST was due to its end.
    ended_after: Quantiles,
    long_ended_after: Quantiles,
    slot_ms: u64,
    /// For each slot of time the jobs that were due, and how long the slowest took to end. Small jobs
    /// only; `null` where one did not end.
    timeline: Vec<Slot>,
    /// When no job was accepted, from anyone.
    pauses: Vec<Pause>,
}

/// The time from one accepted job to the next. Times are seconds, counted from the start.
#[derive(Debug, Serialize)]
struct Pause {
    began_s: f64,
    lasted_s: f64,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Slot {
    jobs: u64,
    slowest_ms: Option<u64>,
}

/// A finding, with what is known about the job. Times are seconds from the start.
#[derive(Debug, Serialize)]
struct Example {
    finding: Finding,
    detail: String,
    id: Option<Uuid>,
    n: Option<u64>,
    client: Option<usize>,
    due_s: Option<f64>,
    accepted_s: Option<f64>,
    /// The places at which it ended, whoever read them.
    seqs: BTreeSet<u64>,
}

impl Accounts {
    pub(super) fn new(size: Size, start: Instant) -> Self {
        Self {
            size,
            start,
            jobs: HashMap::new(),
            expected: HashMap::new(),
            tally: Tally::default(),
            found: BTreeMap::new(),
            examples: Vec::new(),
            unread: HashSet::new(),
            repeated_parts: HashSet::new(),
            reasons: BTreeMap::new(),
        }
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Records a job before its first POST.
    pub(super) fn due(&mut self, id: Uuid, n: u64, client: usize, due: Instant) {
        self.enter(id, n, client, due, false);
    }

    /// Records a job that marks the end of its client's readings.
    pub(super) fn due_last(&mut self, id: Uuid, n: u64, client: usize) {
        self.enter(id, n, client, Instant::now(), true);
    }

    fn enter(&mut self, id: Uuid, n: u64, client: usize, due: Instant, is_last: bool) {
        self.expected.entry(n).or_insert_with(|| Expected::of(n));
        let job = Job {
            n,
            client,
            due,
            accepted: None,
            ended: None,
            failed: false,
            ends: Vec::new(),
            is_last,
        };
        self.jobs.insert(id, job);
    }

    /// Records how a POST was answered; `None` when it took too long. Returns whether the job has been
    /// accepted, now or before.
    pub(super) fn answered(&mut self, id: Uuid, answer: Option<&io::Result<Answer>>) -> bool {
        self.tally.posts += 1;
        match answer {
            Some(Ok(Answer::Accepted(named))) => {
                if *named != id {
                    self.find(Finding::Wrong, Some(id), format!("accepted as {named}"));
                }
                let job = self
                    .jobs
                    .get_mut(&id)
                    .expect("jobs are entered before they are posted");
                if job.accepted.is_some() {
                    self.tally.repeats_of_accepted += 1;
                } else {
                    job.accepted = Some(Instant::now());
                }
            }
            Some(Ok(Answer::Refused(status))) => {
                *self.tally.refused.entry(*status).or_default() += 1;
                if !matches!(status, 429 | 502 | 503 | 504) {
                    self.find(Finding::Wrong, Some(id), format!("refused with {status}"));
                }
            }
            Some(Err(_)) | None => self.tally.not_answered += 1,
        }
        self.accepted(id).is_some()
    }

    /// When the job was accepted.
    pub(super) fn accepted(&self, id: Uuid) -> Option<Instant> {
        self.jobs.get(&id)?.accepted
    }

    /// How many accepted jobs have not ended as far as their clients know.
    pub(super) fn outstanding(&self) -> usize {
        let jobs = self.jobs.values();
        jobs.filter(|job| job.accepted.is_some() && job.ended.is_none())
            .count()
    }

    /// Records a message of a reading that stood at `place`.
    pub(super) fn received(
        &mut self,
        text: &str,
        message: &Message<'_>,
        reading: Reading,
        place: u64,
    ) {
        self.tally.messages += 1;
        self.tally.bytes += text.len() as u64;
        if message.kind == "gap" {
            self.find(Finding::Gap, None, format!("{reading:?} was at {place}"));
            return;
        }
        if message.seq <= place {
            self.find(
                Finding::Wrong,
                Some(message.id),
                format!("{reading:?} was at {place} and received {}", message.seq),
            );
        }
        let Some(job) = self.jobs.get(&message.id) else {
            let detail = format!("{} of an unknown job {}", message.kind, message.id);
            self.find(Finding::Wrong, None, detail);
            return;
        };
        if self.size.is_private(job.client) && job.client != reading.client {
            let detail = format!("{reading:?} received a private {}", message.kind);
            self.find(Finding::Wrong, Some(message.id), detail);
        } else if job.n != message.n {
            let detail = format!("{} of n = {}", message.kind, message.n);
            self.find(Finding::Wrong, Some(message.id), detail);
        }
    }

    /// Records a message that does not follow the protocol.
    pub(super) fn malformed(&mut self, text: &str) {
        let beginning: String = text.chars().take(80).collect();
        self.find(
            Finding::Wrong,
            None,
            format!("malformed message: {beginning}"),
        );
    }

    /// Records a part that its reading already has.
    pub(super) fn repeated_part(&mut self, id: Uuid, index: usize, reading: Reading) {
        if self.repeated_parts.insert(id) {
            let detail = format!("{reading:?} received part {index} again");
            self.find(Finding::RepeatedPart, Some(id), detail);
        }
    }

    /// Records the end of a job whose value, if it is long, is in `pieces`. A `None` is a part that
    /// did not arrive.
    pub(super) fn ended(
        &mut self,
        message: &Message<'_>,
        pieces: &[Option<String>],
        reading: Reading,
    ) {
        let Some(job) = self.jobs.get_mut(&message.id) else {
            // Already found by `received`.
            return;
        };
        let seq = message.seq;
        job.ends.push(End { reading, seq });
        if reading.client == job.client && reading.of == Source::Live && job.ended.is_none() {
            job.ended = Some(Instant::now());
        }
        if message.kind == "failed" {
            if !job.failed {
                let reason = message.reason.as_deref().unwrap_or_default();
                *self.reasons.entry(reason.to_owned()).or_default() += 1;
            }
            job.failed = true;
            return;
        }
        let expected = self.expected.get_mut(&job.n).expect("entered with the job");
        let wrong = if let Some(value) = message.value {
            (value.len() != message.digits || !expected.is(value)).then_some("the value is wrong")
        } else if pieces.len() != message.parts || pieces.iter().any(Option::is_none) {
            Some("parts are missing")
        } else {
            let pieces = || pieces.iter().flatten().map(String::as_str);
            let digits: usize = pieces().map(str::len).sum();
            (digits != message.digits || !expected.is_in_pieces(pieces()))
                .then_some("the value in parts is wrong")
        };
        if let Some(wrong) = wrong {
            let detail = format!("{reading:?}, seq {seq}: {wrong}");
            self.find(Finding::Wrong, Some(message.id), detail);
        }
    }

    /// Records that this reading did not come to its end.
    pub(super) fn unread(&mut self, reading: Reading) {
        self.unread.insert(reading.client);
        self.find(Finding::Unread, None, format!("{reading:?}"));
    }

    fn find(&mut self, finding: Finding, id: Option<Uuid>, detail: String) {
        *self.found.entry(finding).or_default() += 1;
        if self.examples.len() >= MAX_EXAMPLES {
            return;
        }
        let job = id.and_then(|id| self.jobs.get(&id));
        let since_start = |at: Instant| (at - self.start).as_secs_f64();
        self.examples.push(Example {
            finding,
            detail,
            id,
            n: job.map(|job| job.n),
            client: job.map(|job| job.client),
            due_s: job.map(|job| since_start(job.due)),
            accepted_s: job.and_then(|job| job.accepted).map(since_start),
            seqs: job.map_or_else(BTreeSet::new, |job| {
                job.ends.iter().map(|end| end.seq).collect()
            }),
        });
    }

    /// The outcomes of the jobs, once everything has been read.
    pub(super) fn close(mut self) -> Report {
        let mut verdicts: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.is_last)
            .filter_map(|(id, job)| Some((*id, self.verdict(job)?)))
            .collect();
        verdicts.sort_by_key(|(id, _)| self.jobs[id].due);
        for (id, (finding, detail)) in verdicts {
            self.find(finding, Some(id), detail);
        }

        let jobs = || self.jobs.values().filter(|job| !job.is_last);
        let ended = |job: &&Job| !job.ends.is_empty();
        let times = |times: &mut dyn Iterator<Item = Duration>| {
            let mut all = Times::new();
            times.for_each(|time| all.record(time));
            all.quantiles()
        };
        let ended_after = |job: &Job| Some(job.ended? - job.due);
        let small = |job: &&Job| job.n <= MAX_SMALL_N;
        Report {
            jobs: jobs().count(),
            long_jobs: jobs().filter(|job| !small(job)).count(),
            accepted: jobs().filter(|job| job.accepted.is_some()).count(),
            done: jobs().filter(ended).filter(|job| !job.failed).count(),
            failed: jobs().filter(|job| job.failed).count(),
            accepted_after: times(&mut jobs().filter_map(|job| Some(job.accepted? - job.due))),
            ended_after: times(&mut jobs().filter(small).filter_map(ended_after)),
            long_ended_after: times(&mut jobs().filter(|job| !small(job)).filter_map(ended_after)),
            slot_ms: SLOT_MS,
            timeline: timeline(jobs().filter(small), self.start),
            pauses: pauses(jobs(), self.start),
            reasons: self.reasons.clone(),
            findings: self.found.clone(),
            tally: self.tally.clone(),
            examples: self.examples,
        }
    }

    /// The first finding about the ends of this job, with its details. `None` if the job ended once and right.
    fn verdict(&self, job: &Job) -> Option<(Finding, String)> {
        for client in self.audience(job) {
            let seqs = |of| {
                let reading = Reading { client, of };
                let ends = job.ends.iter().filter(|end| end.reading == reading);
                let mut seqs: Vec<_> = ends.map(|end| end.seq).collect();
                seqs.sort_unstable();
                // The same place received twice is one end, and found by `received`.
                seqs.dedup();
                seqs
            };
            let (log, live) = (seqs(Source::Log), seqs(Source::Live));
            if log.len() > 1 {
                return Some((
                    Finding::Twice,
                    format!("in the log of client {client} at {log:?}"),
                ));
            }
            if self.unread.contains(&client) {
                continue;
            }
            if log.is_empty() && job.accepted.is_some() {
                return Some((Finding::Lost, format!("not in the log of client {client}")));
            }
            if live != log {
                let detail = format!("client {client} received {live:?}, and the log has {log:?}");
                return Some((Finding::Missed, detail));
            }
        }
        if job.accepted.is_none() {
            return Some((Finding::Unaccepted, format!("{} ends", job.ends.len())));
        }
        None
    }

    /// The clients that receive this job's end.
    fn audience(&self, job: &Job) -> Range<usize> {
        if self.size.is_private(job.client) {
            job.client..job.client + 1
        } else {
            0..self.size.clients()
        }
    }
}

impl Report {
    /// # Errors
    ///
    /// When something was found.
    pub(super) fn verdict(&self) -> Result<(), Findings> {
        if self.findings.is_empty() {
            Ok(())
        } else {
            Err(Findings(self.findings.clone()))
        }
    }
}

fn timeline<'a>(jobs: impl Iterator<Item = &'a Job>, start: Instant) -> Vec<Slot> {
    let mut slots = BTreeMap::new();
    for job in jobs {
        let slot = (job.due - start).as_millis() / u128::from(SLOT_MS);
        let (jobs, slowest) = slots.entry(slot).or_insert((0, Some(Duration::ZERO)));
        *jobs += 1;
        *slowest = slowest
            .zip(job.ended)
            .map(|(slowest, ended)| slowest.max(ended - job.due));
    }
    let count = slots.last_key_value().map_or(0, |(last, _)| last + 1);
    (0..count)
        .map(|slot| match slots.get(&slot) {
            None => Slot {
                jobs: 0,
                slowest_ms: Some(0),
            },
            Some((jobs, slowest)) => Slot {
                jobs: *jobs,
                slowest_ms: slowest.map(|slowest| {
                    u64::try_from(slowest.as_millis()).expect("less than a run takes")
                }),
            },
        })
        .collect()
}

fn pauses<'a>(jobs: impl Iterator<Item = &'a Job>, start: Instant) -> Vec<Pause> {
    let mut accepted: Vec<_> = jobs.filter_map(|job| job.accepted).collect();
    accepted.sort_unstable();
    accepted
        .windows(2)
        .map(|pair| (pair[0] - start, pair[1] - pair[0]))
        .filter(|(_, lasted)| *lasted >= MIN_PAUSE)
        .map(|(began, lasted)| Pause {
            began_s: began.as_secs_f64(),
            lasted_s: lasted.as_secs_f64(),
        })
        .collect()
}
