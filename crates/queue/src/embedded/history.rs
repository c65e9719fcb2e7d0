//! The events on disk, for cursors that have fallen behind the tail.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use protocol::Audience;
use tokio::task::spawn_blocking;

use super::{
    extent::{Extent, Place},
    record::EventRecord,
    sqlite::EventReader,
};
use crate::log::{Answer, Entry, Held, History, Next};

/// Reads events from the disk, on threads that may wait for it. Clones share one connection.
#[derive(Debug, Clone)]
pub(super) struct DiskHistory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    extent: Arc<Mutex<Extent>>,
    reader: Mutex<EventReader>,
    damage_reported: AtomicBool,
}

impl DiskHistory {
    pub(super) fn new(extent: Arc<Mutex<Extent>>, reader: EventReader) -> Self {
        Self(Arc::new(Shared {
            extent,
            reader: Mutex::new(reader),
            damage_reported: AtomicBool::new(false),
        }))
    }
}

impl History for DiskHistory {
    fn next_after<'a>(&'a self, audiences: &'a [Audience], position: u64) -> Answer<'a, Next> {
        Box::pin(async move {
            let shared = Arc::clone(&self.0);
            let audiences = audiences.to_vec();
            spawn_blocking(move || shared.next_after(&audiences, position))
                .await
                .expect("reading does not panic and is not aborted")
        })
    }

    fn held(&self) -> Answer<'_, Held> {
        let held = self.0.extent.lock().held();
        Box::pin(std::future::ready(held))
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0.extent.lock().bytes())
    }
}

impl Shared {
    fn next_after(&self, audiences: &[Audience], position: u64) -> Next {
        // Everything up to here was looked through, without a hole.
        let mut seen = position;
        loop {
            let place = self.extent.lock().find(audiences, seen);
            let (first, last) = match place {
                Place::Among(first, last) => (first, last),
                Place::After(first) => return Next { entry: None, first },
                Place::Nowhere => {
                    return Next {
                        entry: None,
                        first: position.saturating_add(1),
                    };
                }
            };
            match self.read(audiences, first, last) {
                Ok(Some(entry)) => {
                    return Next {
                        first: entry.seq.min(position.saturating_add(1)),
                        entry: Some(entry),
                    };
                }
                // Only now ask whether these events had expired meanwhile.
                Ok(None) => seen = last,
                Err(resume) => {
                    return Next {
                        entry: None,
                        first: resume,
                    };
                }
            }
            let held = self.extent.lock().held();
            if held.first > first {
                return Next {
                    entry: None,
                    first: held.first,
                };
            }
        }
    }

    /// The first event for one of `audiences` among these places, or where to go on if an event
    /// cannot be read.
    fn read(&self, audiences: &[Audience], first: u64, last: u64) -> Result<Option<Entry>, u64> {
        let mut found = Ok(None);
        let read = self.reader.lock().read(first, last, |seq, record| {
            let event = match EventRecord::decode(seq, record) {
                Ok(event) if !audiences.contains(&event.audience) => return true,
                Ok(event) => event.entry(seq),
                Err(damaged) => Err(damaged),
            };
            found = event.map(Some).map_err(|damaged| {
                self.report(seq, &damaged);
                seq + 1
            });
            false
        });
        if let Err(error) = read {
            self.report(first, &error);
            return Err(last + 1);
        }
        found
    }

    fn report(&self, seq: u64, error: &(dyn Error + 'static)) {
        // A reader may ask for the same events again and again.
        if !self.damage_reported.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error,
                seq,
                "events on disk are damaged; their readers are told of a gap"
            );
        }
    }
}
