//! One job's way there and back, as seen by a client that has nothing open yet.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::Uuid;

use crate::{
    expected::Expected,
    message::Message,
    poster::{Answer, Poster},
    target::{Channel, Target},
};

/// How many bytes the socket reads at once.
const READ_BUFFER: usize = 4 * 1024;

/// A job whose right value has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    /// From the start of the trip to the 202.
    pub(crate) accepted: Duration,
    /// From the start of the trip to the result.
    pub(crate) ended: Duration,
    /// The place of the result in the log.
    pub(crate) seq: u64,
}

/// Opens a private socket, posts a job for F(`n`), and waits for its result, which must fit into one
/// message.
///
/// # Errors
///
/// When the socket could not be opened, the job was not accepted, or its value is wrong.
pub(crate) async fn make(target: &Target, n: u64) -> anyhow::Result<Trip> {
    let start = Instant::now();
    let channel = Channel::private();
    let mut socket = target.socket(&channel, READ_BUFFER).await?;
    let id = Uuid::now_v7();
    let answer = Poster::new(target, n, &channel).post(id).await?;
    ensure!(
        answer == Answer::Accepted(id),
        "the job was answered {answer:?}"
    );
    let accepted = start.elapsed();
    loop {
        let frame = socket.next().await.context("the socket was closed")??;
        let Frame::Text(text) = frame else { continue };
        let message = Message::parse(&text).context("a message of the protocol")?;
        if message.id == id && matches!(message.kind, "result" | "failed") {
            let value = message.value.context("a value")?;
            ensure!(Expected::of(n).is(value), "the value is wrong: {value}");
            return Ok(Trip {
                accepted,
                ended: start.elapsed(),
                seq: message.seq,
            });
        }
    }
}
