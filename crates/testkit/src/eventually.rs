//! Waiting for a state.

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How long a state may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for what `future` brings.
///
/// # Panics
///
/// When it has not come after 30 seconds; `what` says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(brought) => brought,
        Err(_elapsed) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until `look` finds what it looks for, and returns that.
///
/// # Panics
///
/// When it has not come after 30 seconds; `what` says what was waited for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        #[allow(clippy::disallowed_methods, reason = "this is the one `eventually`")]
        tokio::time::sleep(PAUSE).await;
    }
}
