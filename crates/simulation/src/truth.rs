//! The true history of each job and event, and the checks against it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::{
    Audience, Event, Job,
    event::{Body, Kind},
};
use uuid::Uuid;

use crate::{
    machine,
    trace::{Actor, Trace},
};

/// The true history. All parts of a simulation report to it, and none asks it what to do.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) trace: Trace,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    /// The events of all time, by their place.
    log: BTreeMap<u64, Logged>,
    /// Every event up to here was evicted.
    floor: u64,
    last: u64,
    /// The place of the end of the last job.
    sentinel: Option<u64>,
    disks_lost: u32,
    jobs: BTreeMap<Uuid, Fate>,
    findings: BTreeSet<String>,
}

#[derive(Debug)]
struct Logged {
    audience: Audience,
    kind: Kind,
    message: Bytes,
}

/// The id of the job that is submitted last.
pub(crate) const SENTINEL: Uuid = Uuid::max();

/// The history of a job since the queue last lost its disk.
#[derive(Debug, Default)]
struct Fate {
    queued: bool,
    accepted: bool,
    deliveries: u64,
    ends: u32,
}

/// The events that a reader may be sent.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) audiences: Vec<Audience>,
    pub(crate) wanted: fn(Kind) -> bool,
    /// Whether the reader is told that it missed events that were evicted.
    pub(crate) tells_gaps: bool,
}

impl Truth {
    pub(crate) fn new(recorded: bool) -> Self {
        Self {
            trace: Trace::new(recorded),
            facts: Mutex::default(),
        }
    }

    /// Notes that the system broke a promise.
    pub(crate) fn finding(&self, actor: Actor, text: &str) {
        self.trace.say(actor, || format!("FINDING {text}"));
        let ms = self.trace.ms();
        self.facts
            .lock()
            .findings
            .insert(format!("{actor:?} at {ms} ms: {text}"));
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.facts.lock().findings.iter().cloned().collect()
    }

    /// The queue has the job, or had it before.
    pub(crate) fn queued(&self, job: &Job) {
        let is_new = {
            let mut facts = self.facts.lock();
            let fate = facts.jobs.entry(job.id).or_default();
            !std::mem::replace(&mut fate.queued, true)
        };
        if is_new {
            self.trace.say(Actor::Queue, || {
                format!("has job {} n={}", short(job.id), job.n)
            });
        }
    }

    /// The queue told a submitter that it has the job.
    pub(crate) fn accepted(&self, job: Uuid) {
        let was_queued = {
            let mut facts = self.facts.lock();
            let disks_lost = facts.disks_lost;
            let fate = facts.jobs.entry(job).or_default();
            // It may have been on a disk that is lost by now.
            fate.accepted = fate.queued;
            fate.queued || disks_lost > 0
        };
        if !was_queued {
            self.finding(Actor::Queue, &format!("{} is not in the queue", short(job)));
        }
    }

    /// The queue handed out a job.
    pub(crate) fn delivered(&self, job: &Job, attempt: u64) {
        self.trace.say(Actor::Queue, || {
            format!("delivers {} attempt {attempt}", short(job.id))
        });
        let expected = {
            let mut facts = self.facts.lock();
            let fate = facts.jobs.entry(job.id).or_default();
            fate.deliveries += 1;
            fate.deliveries
        };
        if attempt != expected {
            self.finding(
                Actor::Queue,
                &format!(
                    "{} has attempt {attempt} at delivery {expected}",
                    short(job.id)
                ),
            );
        }
    }

    /// The queue stored an event at the place `seq`.
    pub(crate) fn stored(&self, seq: u64, audience: &Audience, event: &Event, message: Bytes) {
        let kind = Kind::from(&event.body);
        self.trace.say(Actor::Queue, || {
            format!("stores {seq} {kind:?} of {}", short(event.id))
        });
        let mut wrong = Vec::new();
        {
            let mut facts = self.facts.lock();
            if seq <= facts.last {
                wrong.push(format!("{seq} is stored after {}", facts.last));
            }
            facts.last = seq;
            facts.log.insert(
                seq,
                Logged {
                    audience: audience.clone(),
                    kind,
                    message,
                },
            );
            let disks_lost = facts.disks_lost;
            let fate = facts.jobs.entry(event.id).or_default();
            // A job whose ack was lost is delivered again, and the second attempt may tell of its work
            // again, although the end is stored. It cannot end once more.
            let is_repeated = fate.deliveries != 1 || disks_lost > 0;
            if fate.ends > 0 && (kind.is_end() || !is_repeated) {
                wrong.push(format!("{kind:?} after the end of {}", short(event.id)));
            }
            let is_sentinel = kind.is_end() && event.id == SENTINEL;
            fate.ends += u32::from(kind.is_end());
            match &event.body {
                Body::Result { digits, value, .. } => {
                    let expected = machine::value(event.n);
                    let right = match value {
                        Some(value) => *value == expected.to_string(),
                        None => *digits > protocol::event::LONG_DIGITS as u64,
                    };
                    if !right || *digits != expected.digits() as u64 {
                        wrong.push(format!("wrong value of n={}", event.n));
                    }
                }
                Body::Failed { .. } if fate.deliveries <= 3 => {
                    wrong.push(format!("failed at delivery {}", fate.deliveries));
                }
                _ => {}
            }
            if is_sentinel {
                facts.sentinel = Some(seq);
            }
        }
        for text in wrong {
            self.finding(Actor::Queue, &text);
        }
    }

    /// The queue evicted everything up to `floor`.
    pub(crate) fn evicted(&self, floor: u64) {
        let mut facts = self.facts.lock();
        facts.floor = facts.floor.max(floor);
    }

    /// The queue lost its disk: all jobs, and all events up to `floor`.
    pub(crate) fn wiped(&self, floor: u64) {
        self.evicted(floor);
        let mut facts = self.facts.lock();
        facts.jobs.clear();
        facts.disks_lost += 1;
    }

    /// The place of the end of the job that is submitted last, once it has one.
    pub(crate) fn sentinel(&self) -> Option<u64> {
        self.facts.lock().sentinel
    }

    /// The place of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.facts.lock().last
    }

    /// Whether every accepted job has ended.
    pub(crate) fn settled(&self) -> bool {
        let facts = self.facts.lock();
        facts
            .jobs
            .values()
            .all(|fate| !fate.accepted || fate.ends > 0)
    }

    /// Checks that every accepted job has exactly one end. If there were no faults, each was delivered
    /// once.
    pub(crate) fn check_jobs(&self, faults: bool) {
        let mut wrong = Vec::new();
        for (id, fate) in &self.facts.lock().jobs {
            if fate.accepted && fate.ends == 0 {
                wrong.push(format!("{} was accepted and has no end", short(*id)));
            }
            if !faults && fate.deliveries > 1 {
                wrong.push(format!("{} was delivered again for no reason", short(*id)));
            }
        }
        for text in wrong {
            self.finding(Actor::World, &text);
        }
    }

    /// Checks that a reader, which has read everything up to a place that is not before `from`, gets
    /// the right message next.
    pub(crate) fn check_message(
        &self,
        actor: Actor,
        subscription: &Subscription,
        from: u64,
        seq: u64,
        message: &[u8],
    ) {
        let wrong = {
            let facts = self.facts.lock();
            let from = if subscription.tells_gaps {
                from
            } else {
                from.max(facts.floor)
            };
            let is_for = |logged: &Logged| {
                subscription.audiences.contains(&logged.audience)
                    && (subscription.wanted)(logged.kind)
            };
            match facts.log.get(&seq) {
                None => Some(format!("{seq} was never stored")),
                Some(logged) if logged.message != message => {
                    Some(format!("{seq} differs from what was stored"))
                }
                Some(logged) if !is_for(logged) => Some(format!("{seq} is for others")),
                Some(_) => facts
                    .log
                    .range(from.saturating_add(1).min(seq)..seq)
                    .find(|(_, logged)| is_for(logged))
                    .map(|(missed, _)| format!("missed {missed} between {from} and {seq}")),
            }
        };
        if let Some(text) = wrong {
            self.finding(actor, &text);
        }
    }

    /// Checks that a reader was rightly told that events up to `seq` are gone.
    pub(crate) fn check_gap(&self, actor: Actor, seq: u64) {
        let floor = self.facts.lock().floor;
        if seq > floor {
            self.finding(
                actor,
                &format!("gap up to {seq}, but {floor} is the last evicted"),
            );
        }
    }
}

/// The first digits of an id, which are enough to tell the jobs of a trace apart.
pub(crate) fn short(id: Uuid) -> String {
    id.simple().to_string()[..8].to_owned()
}
