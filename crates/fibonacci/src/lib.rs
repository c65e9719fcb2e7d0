//! Exact Fibonacci numbers in decimal: arithmetic only, no I/O, no async, no clock.
//!
//! F(0) = 0, F(1) = 1, F(2) = 1, F(10) = 55.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! let number = fibonacci::compute(100, 1, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(number.to_string(), "354224848179261915075");
//! # Ok::<(), fibonacci::Error>(())
//! ```

mod buffer;
mod check;
mod crew;
mod decimal;
mod doubling;
mod preview;
mod small;
mod step;
mod transform;

use std::ops::ControlFlow;

pub use decimal::Decimal;
pub use preview::{PREVIEW_DIGITS, Preview, preview};

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The callback asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The finished value did not pass its check in any base.
    #[error("the computed value failed its check")]
    Inexact,
}

/// Works out F(`n`) exactly.
///
/// `threads` is the most threads to use, at least 1. `progress` is called now and then with the
/// fraction of the work that is done, from 0 to 1 and never falling; when it answers `Break`, the
/// work stops with [`Error::Cancelled`].
///
/// The value is checked modulo two primes near 2^61 against F(`n`) computed modulo the same.
/// Refuse an `n` beforehand for which [`memory_needed`] is more than there is.
///
/// # Errors
///
/// [`Error::Cancelled`] when `progress` said so, [`Error::Inexact`] when no base gave a value that
/// passed its check.
pub fn compute(
    n: u64,
    threads: usize,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Decimal, Error> {
    let settings = doubling::Settings {
        threads,
        instructions: transform::Instructions::best(),
        fault: None,
    };
    doubling::compute(n, settings, progress)
}

/// The memory in bytes that [`compute`] needs at its peak for F(`n`), its result included. Threads need
/// next to nothing.
#[must_use]
pub fn memory_needed(n: u64) -> u64 {
    doubling::memory_needed(n)
}
