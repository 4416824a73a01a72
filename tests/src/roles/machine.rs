//! The lines above the figures of a benchmark: the machine on which they were measured.

use std::fmt;

/// Prints as the machine, its kernel, and its current load.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(
            f,
            "machine     {cores} cores, {}",
            model.map_or("of an unknown model", |(_, model)| model)
        )?;
        writeln!(
            f,
            "kernel      Linux {}",
            read("/proc/sys/kernel/osrelease").trim()
        )?;
        writeln!(f, "load        {}", read("/proc/loadavg").trim())
    }
}
