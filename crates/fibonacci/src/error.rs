//! The reasons why a computation ends without a number.

/// Why a computation ended without a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The progress callback returned `Break`. Nothing is wrong with the number.
    #[error("the computation was cancelled")]
    Cancelled,
    /// The computed value failed its check in every base that was tried, so it was discarded.
    #[error("the computed value failed its check")]
    Inexact,
}
