//! Looks at SQLite's write-ahead log before SQLite opens it, because SQLite drops a damaged end without
//! saying so. The format is that of <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    mem,
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;
/// The largest page that SQLite knows.
const MAX_PAGE: usize = 65_536;
const BUFFER: usize = 1024 * 1024;

/// What SQLite will drop: the frames after the last whole commit before any damage.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// How many pages are dropped.
    pub(super) pages: u64,
    /// How many of the dropped commits had been completed, as far as that can be told. The last one does not
    /// count, because it may have been under way when the process died.
    pub(super) commits: u64,
}

/// Reads the log in the file `path`, which need not exist.
pub(super) fn examine(path: &Path) -> io::Result<Cut> {
    match File::open(path) {
        Ok(file) => read(BufReader::with_capacity(BUFFER, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Cut::default()),
        Err(error) => Err(error),
    }
}

fn read(mut log: impl Read) -> io::Result<Cut> {
    let mut header = [0; HEADER];
    if read_up_to(&mut log, &mut header)? < HEADER {
        // SQLite had not written the header yet.
        return Ok(Cut::default());
    }
    let page = word(&header, 2) as usize;
    let mut checksum = Checksum {
        big_endian: word(&header, 0) & 1 == 1,
        sums: (0, 0),
    };
    checksum.add(&header[..24]);
    let known = word(&header, 0) & !1 == MAGIC && (512..=MAX_PAGE).contains(&page);
    if !known || checksum.sums != (word(&header, 6), word(&header, 7)) {
        // Without the header, frames cannot be told apart. To be safe, anything that follows counts as a commit,
        // in pages of SQLite's usual size.
        let rest = io::copy(&mut log, &mut io::sink())?;
        let commits = u64::from(rest > 0);
        return Ok(Cut {
            pages: rest.div_ceil(4096),
            commits,
        });
    }
    let salts = (word(&header, 4), word(&header, 5));
    let mut cut = Cut::default();
    let mut whole = true;
    let mut ends_commit = false;
    let mut frame = vec![0; FRAME_HEADER + page];
    loop {
        let length = read_up_to(&mut log, &mut frame)?;
        if length < FRAME_HEADER {
            return Ok(cut);
        }
        // A frame with other salts was written before SQLite last started the log over.
        let is_of_this_log = (word(&frame, 2), word(&frame, 3)) == salts;
        let is_commit = word(&frame, 1) != 0;
        if whole {
            checksum.add(&frame[..8]);
            checksum.add(&frame[FRAME_HEADER..]);
            whole = is_of_this_log
                && length == frame.len()
                && checksum.sums == (word(&frame, 4), word(&frame, 5));
        }
        if whole && is_commit {
            cut = Cut::default();
            ends_commit = false;
        } else if is_of_this_log {
            cut.pages += 1;
            // A commit counts once another frame follows it: the very last one may have been under way.
            cut.commits += u64::from(mem::replace(&mut ends_commit, is_commit));
        }
    }
}

/// SQLite's running checksum over the header of the log and all frames so far.
struct Checksum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<4>();
        let value = |bytes: &[u8; 4]| {
            if self.big_endian {
                u32::from_be_bytes(*bytes)
            } else {
                u32::from_le_bytes(*bytes)
            }
        };
        let (mut first, mut second) = self.sums;
        for pair in words.chunks_exact(2) {
            first = first.wrapping_add(value(&pair[0])).wrapping_add(second);
            second = second.wrapping_add(value(&pair[1])).wrapping_add(first);
        }
        self.sums = (first, second);
    }
}

/// The big-endian word of that index.
fn word(bytes: &[u8], index: usize) -> u32 {
    let (words, _) = bytes.as_chunks::<4>();
    u32::from_be_bytes(words[index])
}

/// Fills `buffer` as far as there are bytes, and the rest with zeros.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    buffer[length..].fill(0);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::embedded::{
        sqlite::Sqlite,
        store::{Batch, Durability, Store, Table},
    };

    const COMMITS: u64 = 5;

    /// The log of some commits, and its length after each.
    fn log() -> (Vec<u8>, Vec<usize>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        fs::write(&path, "").unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        let read = || fs::read(directory.path().join("store-wal")).unwrap();
        let lengths = (1..=COMMITS)
            .map(|key| {
                let batch = Batch {
                    puts: vec![(Table::Events, key, vec![7; 10_000])],
                    ..Batch::default()
                };
                store.commit(&batch, Durability::Synced).unwrap();
                read().len()
            })
            .collect();
        (read(), lengths)
    }

    #[test]
    fn a_whole_log_is_not_cut() {
        let (log, lengths) = log();
        assert_eq!(read(&log[..]).unwrap(), Cut::default());
        for length in lengths {
            assert_eq!(read(&log[..length]).unwrap(), Cut::default());
        }
        assert_eq!(read(&log[..0]).unwrap(), Cut::default());
    }

    #[test]
    fn a_commit_that_was_under_way_is_cut_and_not_lost() {
        let (mut log, lengths) = log();
        let unfinished = read(&log[..lengths[4] - 5000]).unwrap();
        assert!(unfinished.pages > 0);
        assert_eq!(unfinished.commits, 0);
        // The last page had been announced and was not written.
        log[lengths[4] - 100] ^= 1;
        let announced = read(&log[..]).unwrap();
        assert!(announced.pages > unfinished.pages);
        assert_eq!(announced.commits, 0);
    }

    #[test]
    fn commits_behind_damage_are_lost() {
        let (mut log, lengths) = log();
        log[lengths[1] + 100] ^= 1;
        let cut = read(&log[..]).unwrap();
        assert_eq!(cut.commits, 2);
        log[5] ^= 1;
        assert!(read(&log[..]).unwrap().commits > 0);
    }
}
