//! The background work of a role, and whether the role is ready.

use std::{convert::Infallible, error::Error, fmt, pin::Pin};

use tokio::sync::watch;

/// The background work of a role: it declares what the role reads, follows the log, and removes
/// jobs that are done. The role works only while its driver is run.
#[must_use = "the role works only while its driver is run"]
pub struct Driver {
    ready: watch::Receiver<bool>,
    work: Pin<Box<dyn Future<Output = Stopped> + Send>>,
}

/// The queue cannot go on, because its disk failed. Whether what was last written is on that disk is
/// not known, so the process has to end and to read it again.
#[derive(Debug, thiserror::Error)]
#[error("the queue stopped")]
pub struct Stopped(#[source] Box<dyn Error + Send + Sync>);

impl Stopped {
    pub(crate) fn new(cause: Box<dyn Error + Send + Sync>) -> Self {
        Self(cause)
    }
}

impl From<Infallible> for Stopped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Driver {
    pub(crate) fn new<F: Future<Output: Into<Stopped>> + Send + 'static>(
        work: impl FnOnce(watch::Sender<bool>) -> F,
    ) -> Self {
        let (sender, ready) = watch::channel(false);
        let work = work(sender);
        Self {
            ready,
            work: Box::pin(async { work.await.into() }),
        }
    }

    /// Tells whether the role is ready, also while the driver runs.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness(self.ready.clone())
    }

    /// Runs for as long as the role is used. To end it, drop the future: what it does is safe to
    /// stop at any point. It ends by itself only if the queue cannot go on.
    pub async fn run(self) -> Stopped {
        self.work.await
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Whether a role can do its work now: it is connected, and what it reads is declared.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Whether the role is ready now. It is not once its driver has ended.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.0.borrow() && self.0.has_changed().is_ok()
    }
}
