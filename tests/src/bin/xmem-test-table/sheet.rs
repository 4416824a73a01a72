//! The table.

use std::fmt;

use crate::judge::{Fault, SOON, median, wait_beyond_uncut};
use crate::row::Row;
use crate::run::{Phase, Seen};

/// A row that was run, or the reason why not.
#[derive(Debug)]
pub struct Filled {
    pub row: Row,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// These elements are not installed.
    NotHere(Vec<String>),
    /// The row itself cannot be tried, for this reason.
    NotTried(String),
    Tried(Tried),
}

/// The result of a row.
#[derive(Debug, Default)]
pub struct Tried {
    pub seen: Vec<(Phase, Seen)>,
    /// Whether the producer was killed before the client reconnected.
    pub crash: bool,
    /// The faults of the cut pipeline.
    pub faults: Vec<Fault>,
    /// The faults that the uncut pipeline has too, of all kinds.
    pub uncut: Vec<Fault>,
    /// The result of the first run, if there was a second one.
    pub before: Option<String>,
}

impl Filled {
    pub fn faults(&self) -> &[Fault] {
        match &self.outcome {
            Outcome::Tried(tried) => &tried.faults,
            _ => &[],
        }
    }

    /// A short summary of the result.
    pub fn verdict(&self) -> String {
        match &self.outcome {
            Outcome::NotHere(elements) => format!("not installed: {}", elements.join(", ")),
            Outcome::NotTried(why) => format!("not tried: {why}"),
            Outcome::Tried(tried) => tried.verdict(),
        }
    }

    /// All faults, each with the phases that have it.
    pub fn details(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Tried(tried) => tried.details(),
            _ => Vec::new(),
        }
    }
}

impl Tried {
    fn verdict(&self) -> String {
        let kinds = |faults: &[Fault]| {
            let mut kinds: Vec<&str> = faults.iter().map(|fault| fault.kind.name()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.join(", ")
        };
        match (self.faults.is_empty(), self.uncut.is_empty()) {
            (true, true) => "passes".into(),
            (true, false) => format!("as uncut ({})", kinds(&self.uncut)),
            (false, true) => format!("**FAULT** ({})", kinds(&self.faults)),
            (false, false) => {
                let [cut, uncut] = [&self.faults, &self.uncut].map(|faults| kinds(faults));
                format!("**FAULT** ({cut}); uncut: {uncut}")
            }
        }
    }

    fn details(&self) -> Vec<String> {
        let mut found: Vec<(Vec<&str>, String)> = Vec::new();
        let mut add =
            |phase: Phase, text: &str| match found.iter_mut().find(|(_, known)| known == text) {
                Some((phases, _)) if !phases.contains(&phase.name()) => phases.push(phase.name()),
                Some(_) => {}
                None => found.push((vec![phase.name()], text.to_owned())),
            };
        for fault in self.faults.iter().chain(&self.uncut) {
            add(fault.phase, &fault.text);
        }
        for (phase, seen) in &self.seen {
            let warnings = seen.figures.problems.iter();
            for warning in warnings.filter(|problem| problem.starts_with("warning of")) {
                add(*phase, warning);
            }
        }
        let mut details: Vec<String> = found
            .into_iter()
            .map(|(phases, text)| format!("{}: {text}", phases.join(", ")))
            .collect();
        let before = self.before.iter();
        details.extend(before.map(|before| format!("the first run, beside other rows: {before}")));
        details
    }

    fn cell(&self, phase: Phase) -> String {
        let seen = self.seen.iter().find(|(at, _)| *at == phase);
        let Some((_, seen)) = seen else {
            return String::new();
        };
        let figures = &seen.figures;
        if figures.ins.iter().all(|count| *count == 0) {
            return "-".into();
        }
        let counts = |counts: &[u64]| {
            let words: Vec<_> = counts.iter().map(u64::to_string).collect();
            words.join("+")
        };
        let ms =
            |time: Option<i64>| time.map_or("-".into(), |ns| format!("{:.1}", ns as f64 / 1e6));
        let crash = match phase {
            Phase::Reconnected if self.crash => " (killed)",
            _ => "",
        };
        let wait = match (phase, median(&seen.waits)) {
            (_, None) => "-".into(),
            (Phase::Late, Some(wait)) if wait_beyond_uncut(&self.seen) > Some(SOON) => {
                format!("{wait} (!)")
            }
            (_, Some(wait)) => wait.to_string(),
        };
        format!(
            "{} / {} / {} / {}, {}, {wait}{crash}",
            counts(&figures.ins),
            counts(&figures.outs),
            figures.missed,
            figures.copied,
            ms(figures.first_running),
        )
    }
}

/// Prints as a table in Markdown, with an explanation of its cells.
pub struct Table<'a>(pub &'a [Filled]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "A cell: buffers in / out / missed / copied, first running time in ms, time to the \
             first buffer at the sink in ms (the median of several joins; \"(!)\": a client that \
             joins late waits more than {SOON} ms longer than uncut). In: buffers that left the \
             source. Values of several sources or sinks are joined by \"+\".\n"
        )?;
        write!(f, "| downstream | stream |")?;
        for phase in Phase::ALL {
            write!(f, " {} |", phase.name())?;
        }
        writeln!(
            f,
            " verdict |\n|---|---|{}---|",
            "---|".repeat(Phase::ALL.len())
        )?;
        for filled in self.0 {
            let row = &filled.row;
            write!(f, "| {} | {} |", row.downstream, row.stream())?;
            for phase in Phase::ALL {
                let cell = match &filled.outcome {
                    Outcome::Tried(tried) => tried.cell(phase),
                    _ => String::new(),
                };
                write!(f, " {cell} |")?;
            }
            writeln!(f, " {} |", filled.verdict())?;
        }
        for filled in self.0 {
            let details = filled.details();
            if !details.is_empty() {
                writeln!(f, "\n{}: {}", filled.row.title(), filled.verdict())?;
            }
            for detail in details {
                writeln!(f, "- {detail}")?;
            }
        }
        Ok(())
    }
}
