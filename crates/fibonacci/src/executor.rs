//! Runs the tasks of one computation on its threads, reports progress and stops on cancellation.
//! It knows nothing of numbers.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
};

use rayon::prelude::*;

use crate::error::Error;

/// Progress is reported each time that another one of this many equal steps is done.
const STEPS: u64 = 512;

/// The threads of one computation, and how far it is.
///
/// On one thread, the tasks run on the caller's. On several, they run in a pool, and the caller's
/// thread only reports progress.
pub(crate) struct Executor<'a> {
    pool: Option<rayon::ThreadPool>,
    meter: Meter,
    report: Report<'a>,
}

impl<'a> Executor<'a> {
    /// `total` is the cost of all tasks together, in the unit in which they report their own.
    pub(crate) fn new(
        threads: NonZeroUsize,
        total: u64,
        callback: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Self {
        let pool = (threads > NonZeroUsize::MIN)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads.get())
                    .thread_name(|i| format!("fibonacci-{i}"))
                    .build()
                    // If the system refuses more threads, the caller's thread does the work.
                    .ok()
            })
            .flatten();
        Self {
            pool,
            meter: Meter {
                done: AtomicU64::new(0),
                total: total.max(1),
                cancelled: AtomicBool::new(false),
            },
            report: Report { callback, step: 0 },
        }
    }

    /// How many threads run tasks.
    pub(crate) fn threads(&self) -> usize {
        self.pool
            .as_ref()
            .map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Runs `work` on every task, and returns when all have ended.
    ///
    /// Tasks that have not started when the computation is cancelled are dropped. A long one should
    /// look at [`Progress::is_cancelled`] and end early.
    pub(crate) fn for_each<T: Send>(
        &mut self,
        tasks: Vec<T>,
        work: impl Fn(T, &mut Progress<'_, '_>) + Sync,
    ) -> Result<(), Error> {
        let (meter, report, work) = (&self.meter, &mut self.report, &work);
        match &self.pool {
            Some(pool) => {
                let (wake, woken) = sync_channel(1);
                pool.in_place_scope(|scope| {
                    scope.spawn(move |_| {
                        tasks.into_par_iter().with_max_len(1).for_each(|task| {
                            if !meter.is_cancelled() {
                                let observer = Observer::Wake(&wake);
                                work(task, &mut Progress { meter, observer });
                            }
                        });
                    });
                    // The sender is dropped when the last task has ended, which ends this loop.
                    for () in woken {
                        report.update(meter);
                    }
                });
            }
            None => {
                for task in tasks {
                    if meter.is_cancelled() {
                        break;
                    }
                    let observer = Observer::Report(report);
                    work(task, &mut Progress { meter, observer });
                }
            }
        }
        if meter.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Reports that everything is done.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.meter.done = AtomicU64::new(self.meter.total);
        self.report.update(&self.meter);
        if self.meter.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// Through which a task reports what it has done.
pub(crate) struct Progress<'a, 'b> {
    meter: &'a Meter,
    observer: Observer<'a, 'b>,
}

impl Progress<'_, '_> {
    /// Adds to the cost that is done.
    pub(crate) fn add(&mut self, cost: u64) {
        if self.meter.add(cost) {
            match &mut self.observer {
                Observer::Report(report) => report.update(self.meter),
                // If the channel is full, the caller's thread is about to look anyway.
                Observer::Wake(wake) => {
                    wake.try_send(()).ok();
                }
            }
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.meter.is_cancelled()
    }
}

/// What to do when another step is done. The callback runs on the caller's thread only.
enum Observer<'a, 'b> {
    /// The task runs on the caller's thread: report at once.
    Report(&'a mut Report<'b>),
    /// The task runs in the pool: wake the caller's thread.
    Wake(&'a SyncSender<()>),
}

/// How much is done of how much, and whether to stop.
struct Meter {
    done: AtomicU64,
    total: u64,
    cancelled: AtomicBool,
}

impl Meter {
    /// Says whether this completed a step.
    fn add(&self, cost: u64) -> bool {
        let before = self.done.fetch_add(cost, Relaxed);
        self.step(before + cost) > self.step(before)
    }

    fn step(&self, done: u64) -> u64 {
        done.saturating_mul(STEPS) / self.total
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

/// The caller's callback, and the last step that it got.
struct Report<'a> {
    callback: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    step: u64,
}

impl Report<'_> {
    fn update(&mut self, meter: &Meter) {
        let step = meter.step(meter.done.load(Relaxed)).min(STEPS);
        if step > self.step && !meter.is_cancelled() {
            self.step = step;
            if (self.callback)(step as f64 / STEPS as f64).is_break() {
                meter.cancelled.store(true, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executor(
        threads: usize,
        total: u64,
        callback: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Executor<'_> {
        Executor::new(NonZeroUsize::new(threads).unwrap(), total, callback)
    }

    #[test]
    fn every_task_runs_once_and_the_callback_stays_on_the_callers_thread() {
        for threads in [1, 2, 5] {
            let caller = std::thread::current().id();
            let mut callback = |_| {
                assert_eq!(std::thread::current().id(), caller);
                ControlFlow::Continue(())
            };
            let mut executor = executor(threads, 1000, &mut callback);
            assert_eq!(executor.threads(), threads);
            let mut runs = vec![0; 1000];
            executor
                .for_each(runs.iter_mut().collect(), |run: &mut i32, progress| {
                    *run += 1;
                    progress.add(1);
                    assert!(!progress.is_cancelled());
                })
                .unwrap();
            assert!(runs.iter().all(|&run| run == 1), "{threads} threads");
            executor.finish().unwrap();
        }
    }

    #[test]
    fn after_a_break_no_task_starts_and_the_callback_is_not_called() {
        for threads in [1, 2, 5] {
            let mut calls = 0;
            let mut callback = |_| {
                calls += 1;
                ControlFlow::Break(())
            };
            let mut executor = executor(threads, 1, &mut callback);
            let work = |(), progress: &mut Progress<'_, '_>| {
                // The first cost completes the whole work; the task then waits for the verdict.
                while !progress.is_cancelled() {
                    progress.add(1);
                    std::thread::yield_now();
                }
            };
            assert_eq!(
                executor.for_each(vec![(); 100], work),
                Err(Error::Cancelled)
            );
            let unreachable = |(), _: &mut Progress<'_, '_>| panic!("a task was started");
            assert_eq!(
                executor.for_each(vec![(); 100], unreachable),
                Err(Error::Cancelled)
            );
            assert_eq!(executor.finish(), Err(Error::Cancelled));
            assert_eq!(calls, 1, "{threads} threads");
        }
    }
}
