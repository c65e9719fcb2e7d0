//! The outcome of sending a message to the queue.

/// How the queue came to have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It has just stored it.
    New,
    /// It had stored it before, and recognised it by its id.
    Before,
}
