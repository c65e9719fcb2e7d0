//! `POST /fib`, repeated with the same id until it is answered.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tungstenite::http::{HeaderMap, header};
use uuid::Uuid;

use super::patience::Patience;

/// How long to wait for the answer to one request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The statuses after which the same request may be sent again.
pub(super) const RETRIED_STATUSES: [u16; 4] = [429, 502, 503, 504];

/// Posts a job until it is accepted. Whether the queue has the job after an attempt that failed is
/// unknown; the id makes it safe to post it again.
pub(super) fn post(
    url: &str,
    n: u64,
    client: &str,
    id: Uuid,
    patience: &mut Patience,
) -> anyhow::Result<()> {
    let body = json!({"n": n, "client": client, "id": id});
    loop {
        let response = ureq::post(format!("{url}/fib"))
            .config()
            .timeout_global(Some(RESPONSE_TIMEOUT.min(patience.left()?)))
            .http_status_as_error(false)
            .build()
            .send_json(&body);
        let retry_after = match response {
            Ok(response) if response.status() == 202 => {
                patience.succeeded();
                return Ok(());
            }
            Ok(response) if RETRIED_STATUSES.contains(&response.status().as_u16()) => {
                retry_after(response.headers())
            }
            Ok(mut response) => {
                let problem: Value = response.body_mut().read_json().unwrap_or_default();
                match problem["detail"].as_str() {
                    Some(detail) => bail!("{detail}"),
                    None => bail!("POST /fib: {}", response.status()),
                }
            }
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Tls(_))) => {
                return Err(error).context("POST /fib");
            }
            Err(_no_answer) => None,
        };
        patience.wait(retry_after).context("POST /fib")?;
    }
}

/// The time that a response asks to wait.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}
