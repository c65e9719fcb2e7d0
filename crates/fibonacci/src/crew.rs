//! The threads that share one computation, its progress and its cancellation.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::Error;

/// The smallest step of progress that is reported.
const STEP: f64 = 1.0 / 512.0;

/// The caller and, where more threads are allowed, a pool of the others.
pub(crate) struct Crew<'a> {
    others: Option<rayon::ThreadPool>,
    progress: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    reported: f64,
    done: AtomicU64,
    total: u64,
    cancelled: AtomicBool,
}

impl<'a> Crew<'a> {
    /// `total` is the whole cost, in the unit of what the work will say that it cost.
    pub(crate) fn new(
        threads: usize,
        total: u64,
        progress: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Self {
        // Where threads cannot be had, the caller does the work alone.
        let others = (threads > 1)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads - 1)
                    .thread_name(|i| format!("fibonacci-{i}"))
                    .build()
                    .ok()
            })
            .flatten();
        Self {
            others,
            progress,
            reported: 0.0,
            done: AtomicU64::new(0),
            total: total.max(1),
            cancelled: AtomicBool::new(false),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        1 + self
            .others
            .as_ref()
            .map_or(0, rayon::ThreadPool::current_num_threads)
    }

    /// Does `job` for each index below `jobs`, on all threads; `job` says through
    /// [`Worker::done`] what it has cost so far.
    pub(crate) fn share(
        &mut self,
        jobs: usize,
        job: impl Fn(usize, &mut Worker<'_>) + Sync,
    ) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let (done, cancelled, total) = (&self.done, &self.cancelled, self.total);
        let work = |worker: &mut Worker<'_>| {
            while !cancelled.load(Relaxed) {
                let index = next.fetch_add(1, Relaxed);
                if index >= jobs {
                    break;
                }
                job(index, worker);
            }
        };
        let mut caller = Worker {
            done,
            cancelled,
            report: Some(Report {
                progress: self.progress,
                reported: &mut self.reported,
                total,
            }),
        };
        match &self.others {
            Some(others) if jobs > 1 => others.in_place_scope(|scope| {
                for _ in 0..others.current_num_threads().min(jobs - 1) {
                    scope.spawn(|_| {
                        work(&mut Worker {
                            done,
                            cancelled,
                            report: None,
                        });
                    });
                }
                work(&mut caller);
            }),
            _ => work(&mut caller),
        }
        if self.cancelled.load(Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Reports that all is done.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.reported < 1.0 && (self.progress)(1.0).is_break() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// One of the threads at work.
pub(crate) struct Worker<'a> {
    done: &'a AtomicU64,
    cancelled: &'a AtomicBool,
    report: Option<Report<'a>>,
}

/// Progress is reported by the caller's thread alone, whose callback it is.
struct Report<'a> {
    progress: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    reported: &'a mut f64,
    total: u64,
}

impl Worker<'_> {
    /// Adds to the cost that is done; says whether to go on with the job. It is asked before each
    /// job anyway.
    pub(crate) fn done(&mut self, cost: u64) -> bool {
        let done = self.done.fetch_add(cost, Relaxed) + cost;
        if let Some(report) = &mut self.report {
            let fraction = (done as f64 / report.total as f64).min(1.0);
            if fraction >= *report.reported + STEP {
                *report.reported = fraction;
                if (report.progress)(fraction).is_break() {
                    self.cancelled.store(true, Relaxed);
                }
            }
        }
        !self.cancelled.load(Relaxed)
    }
}
