//! The memory and the CPU time of a process, read from /proc, and this process's own limit of open files.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The unit of the times in /proc, which is 1/100 s on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// The resident memory of a process, in KB of 1000 bytes.
pub(crate) fn resident_kb(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("cannot read /proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .context("VmRSS")?;
    Ok(kib.trim().parse::<u64>().context("VmRSS")? * 1024 / 1000)
}

/// The CPU time of all threads of the processes together.
pub(crate) fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu_time_of(*pid)).sum()
}

fn cpu_time_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("cannot read /proc/{pid}/stat"))?;
    // The name of the process may contain anything, but nothing after it contains a parenthesis.
    // Counted from there, user and system time are the 12th and 13th fields.
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>())
        .sum::<Result<_, _>>()
        .context("stat")?;
    Ok(TICK * ticks)
}

/// Makes sure that this process may open `needed` files: raises its soft limit, if that is lower.
pub(crate) fn raise_open_files(needed: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        ensure!(
            limit.maximum.is_none_or(|maximum| maximum >= needed),
            "{needed} open files are needed, but at most {} are allowed: raise the hard limit (`ulimit -Hn`)",
            limit.maximum.unwrap_or_default()
        );
        limit.current = Some(needed);
        setrlimit(Resource::Nofile, limit).context("limit of open files")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_cpu_time() {
        let pid = std::process::id();
        assert!(resident_kb(pid).unwrap() > 100);
        let before = cpu_time(&[pid]).unwrap();
        while cpu_time(&[pid]).unwrap() == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(resident_kb(u32::MAX).is_err());
        assert!(cpu_time(&[u32::MAX]).is_err());
    }
}
