//! Where digits go.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;

/// Writes the pieces of a number to `file`, or else to standard output, where a reader that stops
/// reading is no error. Only a terminal gets a line end after the digits.
pub(crate) fn write(
    file: Option<&Path>,
    pieces: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    if let Some(path) = file {
        let name = || path.display().to_string();
        let mut file = File::create(path).with_context(name)?;
        return write_to(&mut file, pieces).with_context(name);
    }
    let mut stdout = io::stdout().lock();
    let written = write_to(&mut stdout, pieces).and_then(|()| {
        if stdout.is_terminal() {
            writeln!(stdout)?;
        }
        stdout.flush()
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

fn write_to(out: &mut impl Write, pieces: impl Iterator<Item = String>) -> io::Result<()> {
    for piece in pieces {
        out.write_all(piece.as_bytes())?;
    }
    Ok(())
}
