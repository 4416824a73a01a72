//! The figures that a client reports to the parent.

use std::fmt::Display;

use xmem_tests::Line;
use xmem_tests::samples::{numbers, to_text};

/// Figures of one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Number of buffers that left each source.
    pub ins: Vec<u64>,
    /// Number of buffers that arrived at each sink that is named for this, or at all sinks.
    pub outs: Vec<u64>,
    pub missed: u64,
    pub copied: u64,
    /// The running time of the first buffer, in ns.
    pub first_running: Option<i64>,
    pub least_running: Option<i64>,
    /// Number of buffers whose running time is negative or missing.
    pub below_zero: u64,
    /// Number of buffers with a lower running time than the one before.
    pub backwards: u64,
    pub segments: u64,
    /// When the first buffer had left every source, in ms since the mark.
    pub first_in: Option<u64>,
    /// When the first buffer had arrived at every sink, in ms since the mark.
    pub first_out: Option<u64>,
    /// Number of pictures and parts of sound that were compared.
    pub looked_at: u64,
    /// Number of these that differ from what the source makes.
    pub wrong: u64,
    /// How the first of these differs.
    pub first_wrong: Option<String>,
    /// The largest number of frames that had left the source after the frame that arrived at a
    /// sink.
    pub lag: u64,
    /// Messages of elements and libraries.
    pub problems: Vec<String>,
}

/// Separates problems; no problem contains it.
const SEPARATOR: &str = " \u{2502} ";

impl Figures {
    /// Converts the figures to a line of text.
    pub fn to_line(&self) -> Line {
        let mut line = Line::new("")
            .with("ins", to_text(&self.ins))
            .with("outs", to_text(&self.outs))
            .with("missed", self.missed)
            .with("copied", self.copied)
            .with("below-zero", self.below_zero)
            .with("backwards", self.backwards)
            .with("segments", self.segments)
            .with("looked-at", self.looked_at)
            .with("wrong", self.wrong)
            .with("lag", self.lag);
        let mut add = |key: &str, value: Option<&dyn Display>| {
            if let Some(value) = value {
                line = std::mem::take(&mut line).with(key, value);
            }
        };
        add(
            "first-running",
            self.first_running.as_ref().map(|it| it as _),
        );
        add(
            "least-running",
            self.least_running.as_ref().map(|it| it as _),
        );
        add("first-in", self.first_in.as_ref().map(|it| it as _));
        add("first-out", self.first_out.as_ref().map(|it| it as _));
        let wrong = self.first_wrong.clone().unwrap_or_default();
        let text = std::iter::once(&wrong).chain(&self.problems);
        let text = text.map(|text| text.replace('\u{2502}', "|"));
        line.with("text", text.collect::<Vec<_>>().join(SEPARATOR))
    }

    /// Parses a line without its first word.
    pub fn parse(line: &str) -> xmem_tests::roles::Result<Figures> {
        let line = Line::parse(&format!("figures {line}"));
        let signed = |key| line.get(key).map(str::parse).transpose();
        let mut texts = line.get("text").unwrap_or_default().split(SEPARATOR);
        let first_wrong = texts.next().filter(|text| !text.is_empty());
        Ok(Figures {
            ins: numbers(line.text("ins"))?,
            outs: numbers(line.text("outs"))?,
            missed: line.number("missed"),
            copied: line.number("copied"),
            first_running: signed("first-running")?,
            least_running: signed("least-running")?,
            below_zero: line.number("below-zero"),
            backwards: line.number("backwards"),
            segments: line.number("segments"),
            first_in: line.get_number("first-in"),
            first_out: line.get_number("first-out"),
            looked_at: line.number("looked-at"),
            wrong: line.number("wrong"),
            first_wrong: first_wrong.map(str::to_owned),
            lag: line.number("lag"),
            problems: texts.map(str::to_owned).collect(),
        })
    }

    /// Combines the figures of several runs: sums, and for all other figures the worst value.
    pub fn and(mut self, other: Figures) -> Figures {
        let add = |ours: &mut Vec<u64>, theirs: Vec<u64>| {
            if ours.len() == theirs.len() {
                ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b)
            } else {
                ours.extend(theirs)
            }
        };
        add(&mut self.ins, other.ins);
        add(&mut self.outs, other.outs);
        self.missed += other.missed;
        self.copied += other.copied;
        self.first_running = least(self.first_running, other.first_running);
        self.least_running = least(self.least_running, other.least_running);
        self.below_zero += other.below_zero;
        self.backwards += other.backwards;
        self.segments = self.segments.max(other.segments);
        self.first_in = self.first_in.max(other.first_in);
        self.first_out = self.first_out.max(other.first_out);
        self.looked_at += other.looked_at;
        self.wrong += other.wrong;
        self.first_wrong = self.first_wrong.or(other.first_wrong);
        self.lag = self.lag.max(other.lag);
        for problem in other.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_written() {
        let figures = Figures {
            ins: vec![3, 4],
            outs: vec![7],
            first_running: Some(-5),
            first_out: Some(12),
            first_wrong: Some("number 0 is grey".into()),
            problems: vec!["GLib CRITICAL: a = b".into(), "error of v: text=x".into()],
            ..Figures::default()
        };
        for figures in [figures, Figures::default()] {
            let line = figures.to_line().to_string();
            assert_eq!(Figures::parse(line.trim()).unwrap(), figures);
        }
    }
}
