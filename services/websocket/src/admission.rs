//! What a socket holds while it is open.

use queue::Cursor;
use tokio::sync::OwnedSemaphorePermit;

/// What a socket holds while it is open.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The socket's place in the log.
    pub(crate) cursor: Cursor,
    /// Whether the socket is told of gaps. The broadcast has no message for one.
    pub(crate) tells_gaps: bool,
    /// Counts the socket as open.
    pub(crate) _permit: OwnedSemaphorePermit,
}
