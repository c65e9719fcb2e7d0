//! The resources that a process uses, under the names that all clients of Prometheus use.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use procfs::{
    ProcResult,
    process::{LimitValue, Process as Proc},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// The process itself. Its figures are read when they are asked for.
#[derive(Debug)]
pub(super) struct Process {
    /// In seconds since the Unix epoch. This is not read from /proc, which counts from the start of the
    /// system: not every process can see when that was.
    started_s: f64,
}

/// The figures at one moment.
struct Figures {
    cpu_s: f64,
    resident_bytes: u64,
    threads: i64,
    open_fds: usize,
    /// `None` if there is no limit.
    max_fds: Option<u64>,
}

impl Process {
    /// The process, which has just started.
    pub(super) fn starting_now() -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock shows a time after 1970");
        Self {
            started_s: started.as_secs_f64(),
        }
    }
}

impl Figures {
    fn read() -> ProcResult<Self> {
        let process = Proc::myself()?;
        let stat = process.stat()?;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Unlimited => None,
            LimitValue::Value(files) => Some(files),
        };
        let ticks = (stat.utime + stat.stime) as f64;
        Ok(Self {
            cpu_s: ticks / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss * procfs::page_size(),
            threads: stat.num_threads,
            open_fds: process.fd_count()?,
            max_fds,
        })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut encode = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            let metric_type = metric.metric_type();
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)?)
        };
        encode(
            "process_start_time",
            "When the process started, since the Unix epoch.",
            Some(Unit::Seconds),
            &ConstGauge::new(self.started_s),
        )?;
        let figures = match Figures::read() {
            Ok(figures) => figures,
            Err(error) => {
                tracing::debug!(%error, "figures of the process not read");
                return Ok(());
            }
        };
        encode(
            "process_cpu",
            "Processor time that the process has used.",
            Some(Unit::Seconds),
            &ConstCounter::new(figures.cpu_s),
        )?;
        encode(
            "process_resident_memory",
            "Memory that the process has now.",
            Some(Unit::Bytes),
            &ConstGauge::new(figures.resident_bytes),
        )?;
        encode(
            "process_threads",
            "Threads of the process.",
            None,
            &ConstGauge::new(figures.threads),
        )?;
        encode(
            "process_open_fds",
            "Files that the process has open, connections included.",
            None,
            &ConstGauge::new(figures.open_fds),
        )?;
        if let Some(files) = figures.max_fds {
            encode(
                "process_max_fds",
                "Files that the process may have open.",
                None,
                &ConstGauge::new(files),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn the_figures_of_a_process_have_their_usual_names() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::starting_now()));
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_start_time_seconds",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_max_fds",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = value.expect(&text).parse().expect(&text);
            assert!(value >= 0.0, "{text}");
        }
    }
}
