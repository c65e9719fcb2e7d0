//! `bench recover`: how long it takes until a new client can post a job and gets its result.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    figures::micros,
    target::Target,
    trip::{self, Trip},
};

/// How often a new client tries. This is how exact the time is.
const EVERY: Duration = Duration::from_millis(100);
/// How long one client tries.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The n of the jobs.
const N: u64 = 90;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of fibwire.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// The seconds after which to stop trying.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    within: u64,
}

/// The times of the first client that got its result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// From the start of the command to the result.
    recovered_us: f64,
    /// The times from this client's beginning to its 202 and to its result.
    accepted_us: f64,
    ended_us: f64,
    clients: u64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let start = Instant::now();
    let (clients, trip) = first(&args, start).await?;
    Ok(Report {
        recovered_us: micros(start.elapsed()),
        accepted_us: micros(trip.accepted),
        ended_us: micros(trip.ended),
        clients,
    })
}

/// How many clients have tried when one got its result, and that one's trip.
async fn first(args: &Args, start: Instant) -> anyhow::Result<(u64, Trip)> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trying = FuturesUnordered::new();
    let mut clients = 0;
    let mut last = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if start.elapsed() > Duration::from_secs(args.within) {
                    bail!("no client got a result within {} s; the last error: {last:?}", args.within);
                }
                clients += 1;
                trying.push(timeout(ATTEMPT, trip::make(&args.url, N)));
            }
            Some(tried) = trying.next() => match tried {
                Ok(Ok(trip)) => return Ok((clients, trip)),
                Ok(Err(error)) => last = Some(error),
                Err(elapsed) => last = Some(elapsed.into()),
            },
        }
    }
}
