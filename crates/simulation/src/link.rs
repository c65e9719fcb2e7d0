//! The way between one process and the queue: it takes time and loses messages, and the process at its
//! end may be frozen.

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::FutureExt;
use parking_lot::Mutex;
use protocol::{Audience, Event, Job, JobContext, Lane};
use queue::{
    PublishError, SubmitError,
    custom::{Acker, Answer, Backend, TakenJob},
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    bug::Bug,
    chance::{Chance, pause},
};

/// How long a submitter waits for the queue.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The time after which a message that was not acknowledged is sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often a worker gives a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(3333);

/// The queue, as one process reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Arc<dyn Backend>,
    bug: Option<Bug>,
    /// Whether messages are lost. In a process that holds its own queue, none is.
    lossy: bool,
    chance: Mutex<Chance>,
    frozen_until: Mutex<Instant>,
    /// The process has crashed.
    crashed: CancellationToken,
}

/// A message was lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost;

impl Link {
    pub(crate) fn new(
        queue: Arc<dyn Backend>,
        bug: Option<Bug>,
        lossy: bool,
        chance: Chance,
    ) -> Self {
        Self(Arc::new(Inner {
            queue,
            bug,
            lossy,
            chance: Mutex::new(chance),
            frozen_until: Mutex::new(Instant::now()),
            crashed: CancellationToken::new(),
        }))
    }

    /// Freezes the process for some time.
    pub(crate) fn freeze(&self, time: Duration) {
        *self.0.frozen_until.lock() = Instant::now() + time;
    }

    /// The process is gone: nothing that it began goes on.
    pub(crate) fn crash(&self) {
        self.0.crashed.cancel();
    }

    /// Waits for as long as a message travels.
    pub(crate) async fn travel(&self) -> Result<(), Lost> {
        let (travel, lost) = {
            let mut chance = self.0.chance.lock();
            (chance.travel(), chance.one_in(40))
        };
        travel.wait().await;
        let frozen_until = *self.0.frozen_until.lock();
        if frozen_until > Instant::now() {
            sleep_until(frozen_until).await;
        }
        if lost && self.0.lossy {
            Err(Lost)
        } else {
            Ok(())
        }
    }

    /// Asks until an answer arrives.
    pub(crate) async fn until_answered<T, F: Future<Output = T>>(&self, ask: impl Fn() -> F) -> T {
        loop {
            if self.travel().await.is_ok() {
                let answer = ask().await;
                if self.travel().await.is_ok() {
                    return answer;
                }
            }
            pause(RETRY_AFTER).await;
        }
    }
}

impl Backend for Link {
    fn submit<'a>(&'a self, job: &'a Job) -> Answer<'a, Result<(), SubmitError>> {
        let submitting = async {
            self.travel().await?;
            let submitted = self.0.queue.submit(job).await;
            self.travel().await?;
            Ok::<_, Lost>(submitted)
        };
        Box::pin(async {
            match timeout(SUBMIT_TIMEOUT, submitting).await {
                Ok(Ok(submitted)) => submitted,
                Ok(Err(Lost)) | Err(_) => Err(SubmitError::Unreachable("no answer".into())),
            }
        })
    }

    fn take(&self, lane: Lane, idle: NonZeroUsize) -> Answer<'_, TakenJob> {
        Box::pin(async move {
            loop {
                let taken = self.0.queue.take(lane, idle).await;
                let taken = TakenJob {
                    acker: Box::new(LinkAcker {
                        link: self.clone(),
                        inner: Some(taken.acker),
                    }),
                    ..taken
                };
                // A process takes a job from its own queue at once, and it is not lost on the way.
                if !self.0.lossy || self.travel().await.is_ok() {
                    return taken;
                }
            }
        })
    }

    fn publish<'a>(
        &'a self,
        audience: &'a Audience,
        event: &'a Event,
        context: JobContext,
    ) -> Answer<'a, Result<(), PublishError>> {
        if self.0.bug == Some(Bug::AckBeforeStored) {
            let (link, audience, event) = (self.clone(), audience.clone(), event.clone());
            tokio::spawn(async move {
                let storing =
                    link.until_answered(|| link.0.queue.publish(&audience, &event, context));
                link.0.crashed.run_until_cancelled(storing).await;
            });
            return Box::pin(async { Ok(()) });
        }
        Box::pin(self.until_answered(move || self.0.queue.publish(audience, event, context)))
    }
}

/// An acker whose messages go over the link.
#[derive(Debug)]
struct LinkAcker {
    link: Link,
    inner: Option<Box<dyn Acker>>,
}

impl LinkAcker {
    fn inner(mut self) -> (Link, Box<dyn Acker>) {
        let inner = self.inner.take().expect("an acker is used once");
        (self.link.clone(), inner)
    }
}

impl Acker for LinkAcker {
    fn ack(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(async move {
            let (link, inner) = self.inner();
            // A lost ack is not repeated.
            if link.travel().await.is_ok() {
                inner.ack().await;
            }
        })
    }

    fn keep_in_progress(&self) -> Answer<'_, Infallible> {
        Box::pin(async {
            loop {
                pause(SIGN_OF_LIFE).await;
                if self.link.travel().await.is_ok()
                    && self.link.0.bug != Some(Bug::NoSignOfLife)
                    && let Some(inner) = &self.inner
                {
                    inner.keep_in_progress().now_or_never();
                }
            }
        })
    }

    fn nak(self: Box<Self>) -> Answer<'static, ()> {
        Box::pin(async move {
            let (link, inner) = self.inner();
            if link.travel().await.is_ok() {
                inner.nak().await;
            }
        })
    }
}

impl Drop for LinkAcker {
    fn drop(&mut self) {
        if self.link.0.bug == Some(Bug::JobDropped)
            && let Some(inner) = self.inner.take()
        {
            inner.ack().now_or_never();
        }
    }
}
