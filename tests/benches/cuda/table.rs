//! The tables.

use std::fmt;

use xmem_tests::samples::percentile_us;

use crate::baselines::Baseline;
use crate::handoff::{Figures, Run};
use crate::plan::Size;

/// The lines above the rows of a size.
pub struct Head<'a> {
    pub size: &'a Size,
    pub frames: usize,
}

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; windows of {} frames", self.size, self.frames)?;
        writeln!(
            f,
            "{:24}{:>30}{:>20}{:>24}",
            "", "hand-off, µs", "call, µs", "CPU per frame, µs"
        )?;
        writeln!(
            f,
            "{:24}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}{:>8}",
            "", "p50", "p99", "max", "p50", "p99", "producer", "client", "missed"
        )
    }
}

/// The first cell of a row.
pub fn label(run: &Run) -> String {
    let clients = run.clients;
    let plural = if clients == 1 { "" } else { "s" };
    format!("{clients} client{plural}, {}", run.wait())
}

/// A row.
pub struct Row<'a>(pub &'a Run, pub &'a Figures);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row(run, figures) = self;
        write!(f, "{:24}", label(run))?;
        times(f, &figures.handoff, &[0.5, 0.99, 1.0])?;
        times(f, &figures.calls, &[0.5, 0.99])?;
        let (producer, client) = (figures.producer_cpu_us, figures.client_cpu_us);
        writeln!(f, "{producer:>12.1}{client:>12.1}{:>8}", figures.missed)
    }
}

/// The rows for comparison.
pub struct Baselines<'a>(pub &'a [Baseline]);

impl fmt::Display for Baselines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, measured) in self.0 {
            write!(f, "{name:24}")?;
            match measured {
                Ok(measured) => times(f, measured, &[0.5, 0.99, 1.0])?,
                Err(reason) => write!(f, "{:>10} {reason}", "-")?,
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn times(f: &mut fmt::Formatter<'_>, sorted: &[u64], shares: &[f64]) -> fmt::Result {
    let mut shares = shares.iter();
    shares.try_for_each(|&share| write!(f, "{:>10.1}", percentile_us(sorted, share)))
}
