//! Who receives the events of a job: everybody, or the one client that chose a private token.

use crate::ClientToken;

/// Who receives an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Every socket.
    Public,
    /// The sockets that named this token.
    Client(ClientToken),
}
