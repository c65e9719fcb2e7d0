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

/// The whole work has this many steps of progress. Less than a step is not reported.
const STEPS: u64 = 512;

/// Runs a computation, whose `total` cost is in the unit in which its tasks report theirs.
///
/// On one thread, it runs on the caller's. On several, it runs in a pool, and the caller's thread
/// only reports progress.
pub(crate) fn run<T: Send>(
    threads: NonZeroUsize,
    total: u64,
    callback: &mut dyn FnMut(f64) -> ControlFlow<()>,
    computation: impl FnOnce(&mut Executor<'_, '_>) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let meter = &Meter {
        done: AtomicU64::new(0),
        next: AtomicU64::new(total / STEPS),
        total: total.max(1),
        cancelled: AtomicBool::new(false),
    };
    let mut report = Report {
        callback,
        reported: 0.0,
    };
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
    let Some(pool) = pool else {
        return computation(&mut Executor {
            meter,
            threads: 1,
            observer: Observer::Report(&mut report),
        });
    };
    // The pool may have fewer threads than were asked for.
    let threads = pool.current_num_threads();
    let (wake, woken) = sync_channel(1);
    let mut result = None;
    pool.in_place_scope(|scope| {
        let result = &mut result;
        scope.spawn(move |_| {
            *result = Some(computation(&mut Executor {
                meter,
                threads,
                observer: Observer::Wake(&wake),
            }));
        });
        // The sender is dropped when the computation has ended, which ends this loop.
        for () in woken {
            report.update(meter);
        }
    });
    // The computation may have ended while the callback was still deciding.
    if meter.is_cancelled() {
        return Err(Error::Cancelled);
    }
    result.expect("the scope waits until the computation has ended")
}

/// The threads of one computation, and how far it is.
pub(crate) struct Executor<'a, 'b> {
    meter: &'a Meter,
    threads: usize,
    observer: Observer<'a, 'b>,
}

impl Executor<'_, '_> {
    /// How many threads run tasks.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on every task, and returns when all have ended.
    ///
    /// Tasks that have not started when the computation is cancelled are dropped. A long one should
    /// look at [`TaskProgress::is_cancelled`] and end early.
    pub(crate) fn for_each<T: Send>(
        &mut self,
        tasks: Vec<T>,
        work: impl Fn(T, &mut TaskProgress<'_, '_>) + Sync,
    ) -> Result<(), Error> {
        let meter = self.meter;
        let start = |task, observer: Observer<'_, '_>| {
            if !meter.is_cancelled() {
                work(task, &mut TaskProgress { meter, observer });
            }
        };
        match &mut self.observer {
            Observer::Report(report) => {
                for task in tasks {
                    start(task, Observer::Report(report));
                }
            }
            &mut Observer::Wake(wake) => tasks
                .into_par_iter()
                .with_max_len(1)
                .for_each(|task| start(task, Observer::Wake(wake))),
        }
        if meter.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// Through which a task reports what it has done.
pub(crate) struct TaskProgress<'a, 'b> {
    meter: &'a Meter,
    observer: Observer<'a, 'b>,
}

impl TaskProgress<'_, '_> {
    /// Adds to the cost that is done.
    pub(crate) fn add(&mut self, cost: u64) {
        let done = self.meter.done.fetch_add(cost, Relaxed) + cost;
        if done >= self.meter.next.load(Relaxed) {
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

/// The action when a step is done. The callback runs on the caller's thread only.
enum Observer<'a, 'b> {
    /// The task runs on the caller's thread: report at once.
    Report(&'a mut Report<'b>),
    /// The task runs in the pool: wake the caller's thread.
    Wake(&'a SyncSender<()>),
}

/// How much is done of how much, and whether to stop.
struct Meter {
    done: AtomicU64,
    /// When this much is done, it is time for the next report.
    next: AtomicU64,
    total: u64,
    cancelled: AtomicBool,
}

impl Meter {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

/// The caller's callback, and the last fraction that it got.
struct Report<'a> {
    callback: &'a mut dyn FnMut(f64) -> ControlFlow<()>,
    reported: f64,
}

impl Report<'_> {
    /// Reports what is done by now, if a step was done since the last report.
    fn update(&mut self, meter: &Meter) {
        let done = meter.done.load(Relaxed);
        if done >= meter.next.load(Relaxed) {
            meter.next.store(done + meter.total / STEPS, Relaxed);
            let fraction = (done as f64 / meter.total as f64).min(1.0);
            if fraction > self.reported && !meter.is_cancelled() {
                self.reported = fraction;
                if (self.callback)(fraction).is_break() {
                    meter.cancelled.store(true, Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn thread_counts() -> impl Iterator<Item = NonZeroUsize> {
        [1, 2, 5].into_iter().filter_map(NonZeroUsize::new)
    }

    #[test]
    fn every_task_runs_once_and_the_callback_stays_on_the_callers_thread() {
        for threads in thread_counts() {
            let caller = thread::current().id();
            let mut calls = 0;
            let mut callback = |_| {
                assert_eq!(thread::current().id(), caller);
                calls += 1;
                ControlFlow::Continue(())
            };
            let mut runs = vec![0; 1000];
            run(threads, 1000, &mut callback, |executor| {
                assert_eq!(executor.threads(), threads.get());
                executor.for_each(runs.iter_mut().collect(), |run: &mut i32, progress| {
                    *run += 1;
                    progress.add(1);
                })
            })
            .unwrap();
            assert!(runs.iter().all(|&run| run == 1), "{threads} threads");
            assert!(calls > 0, "{threads} threads");
        }
    }

    #[test]
    fn after_a_break_no_task_starts_and_the_callback_is_not_called() {
        for threads in thread_counts() {
            let mut calls = 0;
            let mut callback = |_| {
                calls += 1;
                ControlFlow::Break(())
            };
            let result = run(threads, 1, &mut callback, |executor| {
                let cancelled = executor.for_each(vec![(); 100], |(), progress| {
                    // The first cost completes the work; the task then waits for the callback.
                    while !progress.is_cancelled() {
                        progress.add(1);
                        thread::yield_now();
                    }
                });
                assert_eq!(cancelled, Err(Error::Cancelled));
                executor.for_each(vec![(); 100], |(), _| panic!("a task was started"))
            });
            assert_eq!(result, Err(Error::Cancelled));
            assert_eq!(calls, 1, "{threads} threads");
        }
    }

    #[test]
    fn a_break_cancels_even_a_computation_that_ended_meanwhile() {
        let ended = AtomicBool::new(false);
        let mut callback = |_| {
            while !ended.load(Relaxed) {
                thread::yield_now();
            }
            ControlFlow::Break(())
        };
        let threads = NonZeroUsize::new(2).unwrap();
        let result = run(threads, 1, &mut callback, |executor| {
            executor.for_each(vec![()], |(), progress| progress.add(1))?;
            ended.store(true, Relaxed);
            Ok(())
        });
        assert_eq!(result, Err(Error::Cancelled));
    }
}
