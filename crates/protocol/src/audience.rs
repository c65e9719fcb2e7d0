//! The receivers of a job's events: everybody, or the one client that chose a private token.

use crate::ClientToken;

/// The receivers of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Every socket.
    Public,
    /// The sockets that named this token.
    Client(ClientToken),
}
