//! The queue's backing in memory: a job or an event takes effect at once.

use parking_lot::Mutex;
use protocol::{Audience, Event, Job, JobContext, event::MessageId};
use uuid::Uuid;

use super::{
    clock::Clock,
    lanes::{Attempted, Lanes},
    limits::{MAX_REMEMBERED_IDS, REMEMBERED_FOR},
    recent::Recent,
};
use crate::{
    error::SubmitError,
    log::{Entry, Log},
    stored::Stored,
};

/// Recognises what was submitted or published before.
#[derive(Debug)]
pub(super) struct Memory {
    clock: Clock,
    submitted: Mutex<Recent<Uuid>>,
    published: Mutex<Recent<MessageId>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::new(),
            submitted: Mutex::new(Recent::new(REMEMBERED_FOR, MAX_REMEMBERED_IDS)),
            published: Mutex::new(Recent::new(REMEMBERED_FOR, MAX_REMEMBERED_IDS)),
        }
    }

    pub(super) fn submit(&self, job: &Job, lanes: &Lanes) -> Result<Stored, SubmitError> {
        let lane = lanes.lane(job.lane());
        {
            let mut submitted = self.submitted.lock();
            if submitted.contains(&job.id) {
                return Ok(Stored::Before);
            }
            if !lane.admit() {
                return Err(SubmitError::Full);
            }
            submitted.insert(job.id, self.clock.now());
        }
        lane.push(Attempted {
            job: job.clone(),
            number: 0,
            attempts: 0,
        });
        Ok(Stored::New)
    }

    pub(super) fn publish(
        &self,
        audience: &Audience,
        event: &Event,
        context: JobContext,
        log: &Log,
    ) -> Stored {
        let is_new = self
            .published
            .lock()
            .insert(event.message_id(), self.clock.now());
        if !is_new {
            return Stored::Before;
        }
        let payload = event.encode();
        log.append_next(|seq| {
            Entry::parse(seq, audience.clone(), Some(context), &payload)
                .expect("an event was encoded")
        });
        Stored::New
    }
}
