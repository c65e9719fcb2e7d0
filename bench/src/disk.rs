//! How often a disk was told to make its writes durable, read from /sys.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use anyhow::Context;
use rustix::fs::{major, minor};

/// The place of the number of completed flushes in a device's line of counters, counted from 0
/// (Documentation/block/stat.rst in the kernel's source).
const FLUSHES_FIELD: usize = 15;

/// How many flushes the disk that holds `dir` has completed, for all processes together. An
/// `fsync` that had something to write causes one. `None` when the file system is not on a block
/// device, or the kernel is older than 5.5 and does not count flushes.
pub(crate) fn flushes(dir: &Path) -> anyhow::Result<Option<u64>> {
    let device = fs::metadata(dir)
        .with_context(|| dir.display().to_string())?
        .dev();
    let path = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let counters = match fs::read_to_string(&path) {
        Ok(counters) => counters,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(path),
    };
    Ok(flushes_of(&counters))
}

fn flushes_of(counters: &str) -> Option<u64> {
    let flushes = counters.split_whitespace().nth(FLUSHES_FIELD)?;
    flushes.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_the_sixteenth_counter() {
        let counters = "  207661  8921 11710570 186022  97812 148148 37826288 141871  0 21888 332468 \
                        41535  3 7828288  3896  20176  678\n";
        assert_eq!(flushes_of(counters), Some(20_176));
    }

    #[test]
    fn an_older_kernel_does_not_count_flushes() {
        let counters = "207661 8921 11710570 186022 97812 148148 37826288 141871 0 21888 332468";
        assert_eq!(flushes_of(counters), None);
    }

    #[test]
    fn a_file_system_without_a_disk_has_no_flushes() {
        assert_eq!(flushes(Path::new("/proc")).unwrap(), None);
    }
}
