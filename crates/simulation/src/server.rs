//! A model of the queue's server: what JetStream promises of the two streams, and no more.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    convert::Infallible,
    future::pending,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::{
    Audience, Event, Job, JobContext, Lane,
    event::{self, MessageId},
};
use queue::{
    Entry, PublishError, SubmitError,
    custom::{Acker, Answer, Backend, Held, TakenJob},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{bug::Bug, chance::pause_ms, trace::Actor, truth::Truth};

/// A job is delivered again after this time without a sign of life from its worker.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// How often the server looks for such jobs.
const LOOK_MS: u64 = 500;
/// How long the readers know of an event before it is stored, with a planted bug.
const RUMOUR_MS: u64 = 5;
/// How far the sequence of a new log is from that of the one before.
const NEW_LOG: u64 = 1_000_000;

/// The server. It outlives all of its clients.
#[derive(Debug)]
pub(crate) struct Server {
    truth: Arc<Truth>,
    bug: Option<Bug>,
    max_events: usize,
    state: Mutex<State>,
    arrived: [Notify; 2],
    stored: watch::Sender<()>,
    /// Events that are about to be stored. Only a planted bug tells the readers of them.
    pub(crate) rumours: watch::Sender<Option<Stored>>,
}

#[derive(Debug)]
struct State {
    /// Grows whenever the disk is lost.
    disk: u64,
    next_job: u64,
    waiting: [VecDeque<Waiting>; 2],
    pending: BTreeMap<u64, Pending>,
    submitted: HashSet<Uuid>,
    published: HashSet<MessageId>,
    log: VecDeque<Stored>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    job: Job,
    deliveries: u64,
}

#[derive(Debug)]
struct Pending {
    job: Job,
    deliveries: u64,
    deadline: Instant,
}

impl Stored {
    pub(crate) fn entry(self) -> Entry {
        let (kind, message) =
            event::message(&self.payload, self.seq).expect("an event was encoded");
        Entry {
            seq: self.seq,
            kind,
            audience: self.audience,
            context: Some(self.context),
            message,
        }
    }
}

/// An event as the server stored it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    at: Instant,
    pub(crate) seq: u64,
    pub(crate) audience: Audience,
    pub(crate) context: JobContext,
    pub(crate) payload: Bytes,
}

impl Server {
    pub(crate) fn new(truth: Arc<Truth>, bug: Option<Bug>, max_events: usize) -> Self {
        Self {
            truth,
            bug,
            max_events,
            state: Mutex::new(State {
                disk: 0,
                next_job: 1,
                waiting: Default::default(),
                pending: BTreeMap::new(),
                submitted: HashSet::new(),
                published: HashSet::new(),
                log: VecDeque::new(),
                last: 0,
            }),
            arrived: Default::default(),
            stored: watch::Sender::new(()),
            rumours: watch::Sender::new(None),
        }
    }

    /// Delivers jobs again whose workers gave no sign of life, forever.
    pub(crate) async fn run(&self) {
        loop {
            pause_ms(LOOK_MS).await;
            let now = Instant::now();
            let late: Vec<u64> = {
                let state = self.state.lock();
                let late =
                    |(seq, pending): (&u64, &Pending)| (pending.deadline <= now).then_some(*seq);
                state.pending.iter().filter_map(late).collect()
            };
            for seq in late {
                self.give_back(seq);
            }
        }
    }

    /// Loses all jobs and events. The new log begins at a higher place, as it does on JetStream.
    pub(crate) fn lose_disk(&self) {
        let mut state = self.state.lock();
        let last = state.last + NEW_LOG;
        *state = State {
            disk: state.disk + 1,
            next_job: state.next_job,
            waiting: Default::default(),
            pending: BTreeMap::new(),
            submitted: HashSet::new(),
            published: HashSet::new(),
            log: VecDeque::new(),
            last,
        };
        drop(state);
        self.truth
            .trace
            .say(Actor::Queue, || "loses its disk".into());
        self.truth.wiped(last);
    }

    /// Which disk the server has. A client that finds a different one has to connect again.
    pub(crate) fn disk(&self) -> u64 {
        self.state.lock().disk
    }

    /// The part of the log that is held, as a node says that does not know what was stored in the last `age`.
    pub(crate) fn held(&self, age: Duration) -> Held {
        let state = self.state.lock();
        let first = first(&state);
        let newer = state.log.iter().rev();
        let newer = newer.take_while(|stored| stored.at.elapsed() < age);
        Held {
            first,
            last: state.last - newer.count() as u64,
        }
    }

    /// The first event after `position` for `audience`.
    pub(crate) fn next_for(&self, audience: &Audience, position: u64) -> Option<Stored> {
        let state = self.state.lock();
        let mut after = state.log.iter().filter(|stored| stored.seq > position);
        after.find(|stored| stored.audience == *audience).cloned()
    }

    /// The first event after `position`, once there is one.
    pub(crate) async fn next_after(&self, position: u64) -> Stored {
        let mut stored = self.stored.subscribe();
        loop {
            stored.mark_unchanged();
            let next = {
                let state = self.state.lock();
                let begin = state.log.partition_point(|stored| stored.seq <= position);
                state.log.get(begin).cloned()
            };
            match next {
                Some(next) => return next,
                None => stored.changed().await.expect("the sender is in self"),
            }
        }
    }

    /// The event that the log would hold next, for a feed that does not wait for the disk.
    fn guess(&self, audience: &Audience, event: &Event, context: JobContext) -> Stored {
        Stored {
            at: Instant::now(),
            seq: self.state.lock().last + 1,
            audience: audience.clone(),
            context,
            payload: event.encode(),
        }
    }

    fn store_job(&self, job: &Job) {
        let lane = index(job.lane());
        {
            let mut state = self.state.lock();
            let is_new = state.submitted.insert(job.id);
            if !is_new && self.bug != Some(Bug::JobTwice) {
                return;
            }
            let seq = state.next_job;
            state.next_job += 1;
            state.waiting[lane].push_back(Waiting {
                seq,
                job: job.clone(),
                deliveries: 0,
            });
        }
        self.truth.queued(job);
        self.arrived[lane].notify_one();
    }

    fn store_event(&self, audience: &Audience, event: &Event, context: JobContext) {
        let mut state = self.state.lock();
        let is_new = state.published.insert(event.message_id());
        if !is_new && self.bug != Some(Bug::EventTwice) {
            return;
        }
        state.last += 1;
        let seq = state.last;
        let payload = event.encode();
        let (_, message) = event::message(&payload, seq).expect("an event was encoded");
        state.log.push_back(Stored {
            at: Instant::now(),
            seq,
            audience: audience.clone(),
            context,
            payload,
        });
        if state.log.len() > self.max_events {
            state.log.pop_front();
        }
        let floor = first(&state) - 1;
        drop(state);
        self.truth.stored(seq, audience, event, message);
        self.truth.evicted(floor);
        self.stored.send_replace(());
    }

    fn take_now(&self, lane: Lane) -> Option<(u64, Job, u64)> {
        let mut state = self.state.lock();
        let Waiting {
            seq,
            job,
            deliveries,
        } = state.waiting[index(lane)].pop_front()?;
        let deliveries = deliveries + 1;
        state.pending.insert(
            seq,
            Pending {
                job: job.clone(),
                deliveries,
                deadline: Instant::now() + ACK_WAIT,
            },
        );
        if !state.waiting[index(lane)].is_empty() {
            self.arrived[index(lane)].notify_one();
        }
        drop(state);
        self.truth.delivered(&job, deliveries);
        Some((seq, job, deliveries))
    }

    fn give_back(&self, seq: u64) {
        let mut state = self.state.lock();
        if let Some(Pending {
            job, deliveries, ..
        }) = state.pending.remove(&seq)
        {
            let lane = index(job.lane());
            state.waiting[lane].push_front(Waiting {
                seq,
                job,
                deliveries,
            });
            drop(state);
            self.arrived[lane].notify_one();
        }
    }

    fn done(&self, seq: u64) {
        let mut state = self.state.lock();
        state.pending.remove(&seq);
        for lane in &mut state.waiting {
            lane.retain(|waiting| waiting.seq != seq);
        }
    }
}

/// A client's handle to the server.
#[derive(Debug, Clone)]
pub(crate) struct Client(pub(crate) Arc<Server>);

impl Backend for Client {
    fn submit<'a>(&'a self, job: &'a Job) -> Answer<'a, Result<(), SubmitError>> {
        Box::pin(async {
            self.0.store_job(job);
            Ok(())
        })
    }

    fn take(&self, lane: Lane, _idle: NonZeroUsize) -> Answer<'_, TakenJob> {
        Box::pin(async move {
            loop {
                if let Some((seq, job, attempt)) = self.0.take_now(lane) {
                    let acker = Box::new(ServerAcker {
                        server: Arc::clone(&self.0),
                        seq,
                    });
                    return TakenJob {
                        job,
                        attempt,
                        acker,
                    };
                }
                self.0.arrived[index(lane)].notified().await;
            }
        })
    }

    fn publish<'a>(
        &'a self,
        audience: &'a Audience,
        event: &'a Event,
        context: JobContext,
    ) -> Answer<'a, Result<(), PublishError>> {
        Box::pin(async move {
            if self.0.bug == Some(Bug::TailBeforeStored) {
                self.0
                    .rumours
                    .send_replace(Some(self.0.guess(audience, event, context)));
                pause_ms(RUMOUR_MS).await;
            }
            self.0.store_event(audience, event, context);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct ServerAcker {
    server: Arc<Server>,
    seq: u64,
}

impl Acker for ServerAcker {
    fn ack(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(async move { self.server.done(self.seq) })
    }

    fn keep_in_progress(&self) -> Answer<'_, Infallible> {
        // The link asks for each sign of life again.
        if let Some(pending) = self.server.state.lock().pending.get_mut(&self.seq) {
            pending.deadline = Instant::now() + ACK_WAIT;
        }
        Box::pin(pending())
    }

    fn nak(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(async move { self.server.give_back(self.seq) })
    }
}

fn first(state: &State) -> u64 {
    state
        .log
        .front()
        .map_or(state.last + 1, |stored| stored.seq)
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Small => 0,
        Lane::Large => 1,
    }
}
