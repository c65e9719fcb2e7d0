//! Exact Fibonacci numbers in decimal: arithmetic only, with no I/O, no async code and no clock.
//!
//! F(0) = 0, F(1) = 1, F(2) = 1, F(10) = 55.
//!
//! ```
//! let number = fibonacci::fibonacci(100);
//! assert_eq!(number.to_string(), "354224848179261915075");
//! ```
//!
//! [`Options`] adds threads, progress and cancellation. [`preview()`] gives the length and both ends
//! of a number without computing it.

mod buffer;
mod check;
mod decimal;
mod doubling;
mod error;
mod executor;
mod natural;
mod options;
mod preview;
mod small;
mod step;
mod transform;

pub use decimal::Decimal;
pub use error::Error;
pub use options::Options;
pub use preview::{PREVIEW_DIGITS, Preview, preview};

/// Computes F(`n`) exactly, on the calling thread.
///
/// # Panics
///
/// Panics if the value fails its check ([`Error::Inexact`]), which a correct program on sound
/// hardware never sees. It also panics, or aborts, if the memory that [`memory_needed`] names
/// cannot be allocated.
#[must_use]
pub fn fibonacci(n: u64) -> Decimal {
    Options::new()
        .compute(n)
        .expect("a value that passes its check, since nothing cancels the computation")
}

/// The peak memory in bytes that computing F(`n`) takes, including the result.
///
/// More threads hardly change it. Check it before you compute an `n` that somebody else chose.
#[must_use]
pub fn memory_needed(n: u64) -> u64 {
    doubling::memory_needed(n)
}
