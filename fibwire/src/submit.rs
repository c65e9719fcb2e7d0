//! `fibwire submit N`: asks a running system for a number, in the way that docs/protocol.md recommends
//! to every client. It posts again with the same id, resumes after a lost connection, and assembles
//! the parts of a long result by their index.

mod assembly;
mod patience;
mod posting;
mod socket;

use std::path::PathBuf;

use anyhow::{bail, ensure};
use protocol::{Event, event::Body};
use tungstenite::http::Uri;
use uuid::Uuid;

use crate::{output, progress::Progress};
use assembly::Assembly;
use patience::Patience;
use socket::{Message, Socket};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which Fibonacci number: F(0) = 0, F(1) = 1.
    n: u64,
    /// Address of the running system.
    #[arg(
        long,
        env = "FIBWIRE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: Uri,
    /// Write the digits to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many seconds to wait for the number.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u32,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scheme = args.url.scheme_str().unwrap_or_default();
    ensure!(
        matches!(scheme, "http" | "https"),
        "--url must begin with http:// or https://"
    );
    let url = args.url.to_string();
    let url = url.trim_end_matches('/');
    let client = Uuid::new_v4().simple().to_string();
    let mut patience = Patience::of_seconds(args.timeout);
    // Open the socket first, so that the result cannot arrive before it.
    let mut socket = Socket::open(url, &client, &mut patience)?;
    let mut ids = vec![Uuid::now_v7()];
    posting::post(url, args.n, &client, ids[0], &mut patience)?;
    let mut assembly = Assembly::default();
    let mut progress = Progress::new();
    loop {
        let Event { id, n, body } = match socket.next(&mut patience)? {
            Message::Event(event) => *event,
            Message::Gap => {
                // The result may be among the events that are gone. The number is the same under
                // any id, so whichever job ends first is the answer.
                let id = Uuid::now_v7();
                posting::post(url, args.n, &client, id, &mut patience)?;
                ids.push(id);
                continue;
            }
        };
        if !ids.contains(&id) {
            continue;
        }
        ensure!(n == args.n, "the server answered with F({n})");
        let write = |pieces: &[&str]| output::write(args.out.as_deref(), pieces.iter().copied());
        match body {
            Body::Started { .. } | Body::Preview { .. } => {}
            Body::Progress { fraction } => progress.show(fraction),
            Body::Part { index, value, .. } => assembly.insert(index, value),
            Body::Result {
                digits,
                value: Some(value),
                ..
            } => {
                drop(progress);
                let pieces = [value.as_str()];
                assembly::check_length(&pieces, digits)?;
                return write(&pieces);
            }
            Body::Result { digits, parts, .. } => {
                match assembly.complete(digits, parts.unwrap_or_default()) {
                    Ok(pieces) => {
                        drop(progress);
                        return write(&pieces);
                    }
                    Err(incomplete) if ids.last() == Some(&id) => return Err(incomplete.into()),
                    // The missing parts were lost in a gap. The job that was posted after the gap
                    // sends all of them.
                    Err(_incomplete) => {}
                }
            }
            Body::Failed { reason } => bail!(reason),
        }
    }
}
