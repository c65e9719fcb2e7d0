//! The machine that a calculator runs on: the time and the arithmetic.

use std::{
    fmt,
    num::NonZeroUsize,
    ops::ControlFlow,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fibonacci::{Decimal, Error};
use tokio::{sync::watch, task::spawn_blocking};

/// The machine that a calculator runs on. A simulation brings one of its own.
pub trait Machine: fmt::Debug + Send + Sync {
    /// The current time in microseconds since the Unix epoch.
    fn unix_us(&self) -> u64;

    /// Computes F(`n`) with up to `threads` threads, and sends the share of the work that is done to
    /// `progress`. The computation starts at once, and stops when the future is dropped.
    fn compute(
        &self,
        n: u64,
        threads: NonZeroUsize,
        progress: watch::Sender<f64>,
    ) -> Pin<Box<dyn Future<Output = Result<Decimal, Error>> + Send>>;
}

/// The machine itself: the system's clock, and threads of their own for each computation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

impl Machine for Local {
    fn unix_us(&self) -> u64 {
        protocol::unix_us()
    }

    fn compute(
        &self,
        n: u64,
        threads: NonZeroUsize,
        progress: watch::Sender<f64>,
    ) -> Pin<Box<dyn Future<Output = Result<Decimal, Error>> + Send>> {
        let stop = Stop::default();
        let stopped = Arc::clone(&stop.0);
        let computing = spawn_blocking(move || {
            fibonacci::Options::new()
                .threads(threads)
                .on_progress(|done| {
                    progress.send_replace(done);
                    if stopped.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .compute(n)
        });
        Box::pin(async move {
            let _stop = stop;
            match computing.await {
                Ok(result) => result,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_cancelled) => Err(Error::Cancelled),
            }
        })
    }
}

/// Stops a computation when it is dropped.
#[derive(Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_computation_whose_result_nobody_wants_stops() {
        let (fraction, mut progress) = watch::channel(0.0);
        let computing = Local.compute(400_000_000, NonZeroUsize::MIN, fraction);
        progress.changed().await.expect("a computation");
        drop(computing);
        // Until the computation has let go of its end of the channel.
        while progress.changed().await.is_ok() {}
        assert!(*progress.borrow() < 0.9, "it went on to its end");
    }
}
