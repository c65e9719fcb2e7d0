//! The options of a computation; the computation itself is in `doubling`.

use std::{fmt, num::NonZeroUsize, ops::ControlFlow};

use crate::{
    decimal::Decimal,
    doubling::{self, Settings},
    error::Error,
};

/// How to compute a Fibonacci number: on how many threads, and with which progress callback.
///
/// ```
/// use std::{num::NonZeroUsize, ops::ControlFlow};
///
/// let mut done = 0.0;
/// let number = fibonacci::Options::new()
///     .threads(NonZeroUsize::new(2).unwrap())
///     .on_progress(|fraction| {
///         done = fraction;
///         ControlFlow::Continue(())
///     })
///     .compute(100_000)?;
/// assert_eq!(number.digits(), 20_899);
/// assert_eq!(done, 1.0);
/// # Ok::<(), fibonacci::Error>(())
/// ```
pub struct Options<'a> {
    threads: NonZeroUsize,
    on_progress: Box<dyn FnMut(f64) -> ControlFlow<()> + 'a>,
}

impl<'a> Options<'a> {
    /// One thread, no callback.
    #[must_use]
    pub fn new() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            // A closure without captures, so the box allocates nothing.
            on_progress: Box::new(|_| ControlFlow::Continue(())),
        }
    }

    /// Sets how many threads may compute at the same time. The default is 1, which is the calling
    /// thread; with more, the calling thread waits for the others and reports progress.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets a callback that gets the fraction of the work that is done.
    ///
    /// The fraction rises from 0 to 1 and never falls. The callback runs on the calling thread. To
    /// cancel the computation it returns `Break`; it is then not called again.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(f64) -> ControlFlow<()> + 'a) -> Self {
        self.on_progress = Box::new(callback);
        self
    }

    /// Computes F(`n`) exactly.
    ///
    /// A value that comes from floating-point arithmetic is checked modulo two primes near 2^61
    /// against F(`n`) modulo the same primes, computed independently. It takes as much memory as
    /// [`memory_needed`](crate::memory_needed) says.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the callback returned `Break`; [`Error::Inexact`] if no base gave a
    /// value that passed its check.
    pub fn compute(mut self, n: u64) -> Result<Decimal, Error> {
        doubling::compute(n, Settings::new(self.threads), &mut self.on_progress)
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
