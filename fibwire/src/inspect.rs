//! `fibwire inspect`: says what is in the directory of a server that is not running.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use queue::Inspection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the server.
    #[arg(
        long,
        env = "DATA",
        value_name = "DIR",
        default_value = "./fibwire-data"
    )]
    data: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Inspection {
        format,
        jobs,
        events,
        places,
        bytes,
        is_damaged,
    } = Inspection::of(&args.data)?;
    let place = |seq: Option<u64>| seq.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "format: {format}\njobs waiting: {jobs}\nevents: {events}\nfirst seq: {}\nlast seq: {}\nbytes: {bytes}\ndamaged: {}",
        place(places.map(|(first, _)| first)),
        place(places.map(|(_, last)| last)),
        if is_damaged { "yes, the next start leaves out what cannot be read" } else { "no" },
    )
    .context("standard output")
}
