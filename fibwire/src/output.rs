//! Writing the digits of a number to a file or to standard output.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;

/// Writes the pieces of a number and a line end to `file`, or else to standard output. There it is not
/// an error if the reader stops reading.
pub(crate) fn write(
    file: Option<&Path>,
    pieces: impl Iterator<Item: AsRef<str>>,
) -> anyhow::Result<()> {
    if let Some(path) = file {
        let name = || path.display().to_string();
        let mut file = File::create(path).with_context(name)?;
        return write_to(&mut file, pieces).with_context(name);
    }
    let mut stdout = io::stdout().lock();
    match write_to(&mut stdout, pieces) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

fn write_to(out: &mut impl Write, pieces: impl Iterator<Item: AsRef<str>>) -> io::Result<()> {
    for piece in pieces {
        out.write_all(piece.as_ref().as_bytes())?;
    }
    writeln!(out)?;
    out.flush()
}
