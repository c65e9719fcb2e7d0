//! The longest frame that each socket sends. A frame is copied into the buffer of its socket, so short
//! ones take less memory, and long ones less time. Some sockets send long ones, and the rest short ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest frame of most sockets, in bytes. With 20 000 sockets this makes 80 MiB.
const SHORT: usize = 4 * 1024;
/// The longest frame of the others, in bytes.
const LONG: usize = 32 * 1024;
/// How many sockets at a time send long frames. This makes 32 MiB.
const LONG_SOCKETS: usize = 1000;

/// The lengths that the open sockets have.
#[derive(Debug)]
pub(crate) struct FrameLengths(Arc<Semaphore>);

impl FrameLengths {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LONG_SOCKETS)))
    }

    /// The length for one more socket.
    pub(crate) fn next(&self) -> FrameLength {
        FrameLength(Arc::clone(&self.0).try_acquire_owned().ok())
    }
}

/// The longest frame of one socket.
#[derive(Debug)]
pub(crate) struct FrameLength(
    /// The permit to send long frames.
    Option<OwnedSemaphorePermit>,
);

impl FrameLength {
    /// The length of a socket that is one of many.
    #[cfg(test)]
    pub(crate) const SHORT: Self = Self(None);

    /// The length in bytes, without the frame's header.
    pub(crate) fn bytes(&self) -> usize {
        if self.0.is_some() { LONG } else { SHORT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_of_sockets_send_long_frames() {
        let lengths = FrameLengths::new();
        let mut open: Vec<_> = (0..=LONG_SOCKETS).map(|_| lengths.next()).collect();
        assert_eq!(open.pop().unwrap().bytes(), SHORT);
        assert!(open.iter().all(|length| length.bytes() == LONG));
        open.pop();
        assert_eq!(lengths.next().bytes(), LONG);
    }
}
