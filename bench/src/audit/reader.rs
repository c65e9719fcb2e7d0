//! Reads a channel from one place in the log to another, over as many sockets as that takes.

use std::{cell::RefCell, collections::HashMap, io::Write, time::Duration};

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::Uuid;

use crate::{
    audit::accounts::{Accounts, Reading, Source},
    message::Message,
    target::{Channel, Socket, Target},
};

/// How long a socket may take to open.
const OPENING: Duration = Duration::from_secs(5);
/// When to open another socket after one was lost or could not be opened.
const PAUSE: Duration = Duration::from_millis(100);
/// The server pings after 25 s without a frame and waits 10 s for the answer. When nothing has come
/// for this long, the connection is dead.
const SILENCE: Duration = Duration::from_secs(40);
/// How many bytes a socket reads at once.
const READ_BUFFER: usize = 64 * 1024;

/// A reading of a channel, which is at a place in the log.
pub(super) struct Reader<'a, W> {
    pub(super) target: &'a Target,
    pub(super) channel: &'a Channel,
    pub(super) reading: Reading,
    /// Everything up to here has been read.
    pub(super) place: u64,
    pub(super) accounts: &'a RefCell<Accounts>,
    /// The parts that have been read of values whose result has not.
    pub(super) pieces: HashMap<Uuid, Vec<Option<String>>>,
    /// The channel over which to tell that a long job is under way.
    pub(super) out: &'a RefCell<W>,
}

/// Why a socket is not read any more.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// The job was read that the reading was to come to.
    Read,
    /// The socket was lost.
    Lost,
    /// It is time to cut the connection.
    Cut,
}

impl<W: Write> Reader<'_, W> {
    /// Reads up to the end of the job `last`, and cuts the connection at the times given.
    pub(super) async fn read_to(&mut self, last: Uuid, cuts: &[Instant]) {
        let mut cuts = cuts.iter().copied().peekable();
        loop {
            let opening = self
                .target
                .socket_since(self.channel, self.place, READ_BUFFER);
            let Ok(Ok(mut socket)) = timeout(OPENING, opening).await else {
                self.accounts.borrow_mut().tally().sockets_not_opened += 1;
                sleep_until(Instant::now() + PAUSE).await;
                continue;
            };
            self.accounts.borrow_mut().tally().sockets += 1;
            // A cut that was due while there was no socket has nothing to cut.
            while cuts.next_if(|cut| *cut <= Instant::now()).is_some() {}
            match self.read(&mut socket, last, cuts.peek().copied()).await {
                Over::Read => return,
                Over::Cut => self.accounts.borrow_mut().tally().cuts += 1,
                Over::Lost => sleep_until(Instant::now() + PAUSE).await,
            }
        }
    }

    async fn read(&mut self, socket: &mut Socket, last: Uuid, cut: Option<Instant>) -> Over {
        loop {
            let cut = async {
                match cut {
                    Some(cut) => sleep_until(cut).await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                frame = timeout(SILENCE, socket.next()) => frame,
                () = cut => return Over::Cut,
            };
            match frame {
                Ok(Some(Ok(Frame::Text(text)))) => {
                    if self.receive(&text) == Some(last) {
                        return Over::Read;
                    }
                }
                Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => {}
                Ok(Some(Ok(_) | Err(_)) | None) | Err(_) => return Over::Lost,
            }
        }
    }

    /// Records a message. Returns the id of the job that it ends.
    fn receive(&mut self, text: &str) -> Option<Uuid> {
        let mut accounts = self.accounts.borrow_mut();
        let Some(message) = Message::parse(text) else {
            accounts.malformed(text);
            return None;
        };
        accounts.received(text, &message, self.reading, self.place);
        self.place = message.seq;
        match message.kind {
            "part" => {
                let pieces = self.pieces.entry(message.id).or_default();
                if pieces.len() < message.parts {
                    pieces.resize(message.parts, None);
                }
                match (pieces.get_mut(message.index), message.value) {
                    (Some(Some(_)), _) => {
                        accounts.repeated_part(message.id, message.index, self.reading);
                    }
                    (Some(piece), Some(value)) => *piece = Some(value.to_owned()),
                    _ => accounts.malformed(text),
                }
            }
            "result" | "failed" => {
                let pieces = self.pieces.remove(&message.id).unwrap_or_default();
                accounts.ended(&message, &pieces, self.reading);
                return Some(message.id);
            }
            _ => {}
        }
        drop(accounts);
        if self.reading.of == Source::Live && matches!(message.kind, "started" | "part") {
            self.tell(&message);
        }
        None
    }

    /// Tells whoever started the program that a job is under way, so that it can disturb that job.
    fn tell(&self, message: &Message<'_>) {
        let line = json!({"event": message.kind, "n": message.n, "index": message.index});
        let mut out = self.out.borrow_mut();
        // Nobody may be listening any more, and the jobs are to be accounted for all the same.
        writeln!(out, "{line}").and_then(|()| out.flush()).ok();
    }
}
