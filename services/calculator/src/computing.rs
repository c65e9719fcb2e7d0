//! A computation on a separate thread, watched and cancelled from async code.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fibonacci::{Decimal, Error};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

/// A computation under way. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Computing {
    result: JoinHandle<Result<Decimal, Error>>,
    progress: watch::Receiver<f64>,
    cancelled: Arc<AtomicBool>,
}

impl Computing {
    /// Starts computing F(`n`).
    pub(crate) fn start(n: u64, threads: NonZeroUsize) -> Self {
        let (fraction, progress) = watch::channel(0.0);
        let cancelled = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&cancelled);
        let result = spawn_blocking(move || {
            fibonacci::Options::new()
                .threads(threads)
                .on_progress(|done| {
                    fraction.send_replace(done);
                    if stop.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .compute(n)
        });
        Self {
            result,
            progress,
            cancelled,
        }
    }

    /// The share of the work that is done, from 0 to 1.
    pub(crate) fn fraction(&self) -> f64 {
        *self.progress.borrow()
    }

    /// Waits for the number.
    ///
    /// Cancel safe: the computation goes on if the future is dropped.
    ///
    /// # Panics
    ///
    /// If the computation panicked.
    pub(crate) async fn finished(&mut self) -> Result<Decimal, Error> {
        match (&mut self.result).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => Err(Error::Cancelled),
        }
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
