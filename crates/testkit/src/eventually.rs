//! Waiting for a state.

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How long to wait for a state.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for `future` and returns its output.
///
/// # Panics
///
/// If that takes longer than 30 seconds. The message names `what` was awaited.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Calls `look` until it returns something, and returns that.
///
/// # Panics
///
/// If `look` has returned nothing after 30 seconds. The message names `what` was awaited.
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
