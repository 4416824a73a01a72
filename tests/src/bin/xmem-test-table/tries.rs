//! Runs all rows, several at a time, and once more if load may be the cause of a fault.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use xmem_tests::roles::Installation;

use crate::judge::{self, Fault};
use crate::plan::Plan;
use crate::row::Row;
use crate::run::{Phase, Runner, Seen};
use crate::sheet::{Filled, Outcome, Tried};

/// For how long a phase is watched in the short form.
const SHORT: Duration = Duration::from_millis(1500);

/// A row that waits to be run.
struct Waiting {
    number: usize,
    row: Row,
}

/// Runs all rows; `rows` contain the reason if one is not tried.
pub fn all(
    plan: &Plan,
    installation: &Installation,
    can_switch: bool,
    rows: Vec<(Row, Option<String>)>,
) -> Vec<Filled> {
    let tries = Tries {
        plan,
        runner: Runner {
            installation,
            can_switch,
            joins: plan.joins,
            seconds: plan.short.then_some(SHORT),
        },
        total: rows.len(),
        started: Instant::now(),
        filled: Mutex::default(),
        alone: Mutex::default(),
    };
    let mut together = VecDeque::new();
    for (number, (row, why_not)) in rows.into_iter().enumerate() {
        let missing = match row.group {
            // Elements that make the streams of these rows are looked up when the row is run.
            crate::row::Group::Registry => Vec::new(),
            _ => missing(installation, &row),
        };
        let waiting = Waiting { number, row };
        match (why_not, missing.is_empty()) {
            (Some(why), _) => tries.done(waiting, Outcome::NotTried(why)),
            (None, false) => tries.done(waiting, Outcome::NotHere(missing)),
            (None, true) if waiting.row.heavy => tries.wait_alone(waiting, None),
            (None, true) => together.push_back(waiting),
        }
    }
    let together = Mutex::new(together);
    std::thread::scope(|scope| {
        for _ in 0..plan.lanes {
            scope.spawn(|| {
                loop {
                    let next = lock(&together).pop_front();
                    let Some(waiting) = next else { break };
                    tries.beside_others(waiting);
                }
            });
        }
    });
    loop {
        let next = lock(&tries.alone).pop_front();
        let Some((mut waiting, before)) = next else {
            break;
        };
        let mut tried = tries.one(&mut waiting);
        tried.before = before;
        tries.done(waiting, Outcome::Tried(tried));
    }
    let mut filled = tries
        .filled
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    filled.sort_by_key(|(number, _)| *number);
    filled.into_iter().map(|(_, filled)| filled).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The elements of a row that are not installed.
fn missing(installation: &Installation, row: &Row) -> Vec<String> {
    let mut missing = row.elements();
    missing.retain(|element| !installation.has(element));
    missing.sort();
    missing.dedup();
    missing
}

fn failed(phase: Phase, error: &xmem_tests::roles::Error) -> Fault {
    Fault {
        phase,
        kind: judge::Kind::Ended,
        text: error.to_string(),
    }
}

struct Tries<'a> {
    plan: &'a Plan,
    runner: Runner<'a>,
    total: usize,
    started: Instant,
    filled: Mutex<Vec<(usize, Filled)>>,
    /// Rows that need the machine for themselves, and the result of their first run.
    alone: Mutex<VecDeque<(Waiting, Option<String>)>>,
}

impl Tries<'_> {
    fn beside_others(&self, mut waiting: Waiting) {
        let tried = self.one(&mut waiting);
        let may_be_load = tried.faults.iter().any(|fault| fault.kind.may_be_load());
        if may_be_load {
            let faults = tried.faults.iter().map(Fault::to_string);
            let before = faults.collect::<Vec<_>>().join("; ");
            eprintln!("once more, alone: {}: {before}", waiting.row.title());
            self.wait_alone(waiting, Some(before));
        } else {
            self.done(waiting, Outcome::Tried(tried))
        }
    }

    fn wait_alone(&self, waiting: Waiting, before: Option<String>) {
        lock(&self.alone).push_back((waiting, before));
    }

    /// Runs the pipelines of a row, and judges the observations.
    fn one(&self, waiting: &mut Waiting) -> Tried {
        let crash = waiting.number % 2 == 1;
        let timed = !self.plan.short;
        // The judgement is whether the cut changes something. The short form runs the uncut
        // pipeline only if there are faults.
        let uncut = if timed {
            self.uncut(&mut waiting.row)
        } else {
            None
        };
        let row = &waiting.row;
        let mut tried = Tried {
            crash,
            ..Tried::default()
        };
        match self.runner.cut(row, crash) {
            Ok(seen) => {
                for (phase, seen) in &seen {
                    tried.faults.extend(judge::faults(row, *phase, seen));
                }
                tried.seen = seen;
            }
            Err(error) => tried.faults.push(failed(Phase::First, &error)),
        }
        let uncut = match (uncut, tried.faults.is_empty()) {
            (None, false) => self.uncut(&mut waiting.row),
            (uncut, _) => uncut,
        };
        if let Some((seen, faults)) = uncut {
            tried.seen.push((Phase::Uncut, seen));
            tried.uncut = faults;
        }
        tried.faults = judge::without(tried.faults, &tried.uncut);
        if tried.faults.iter().any(judge::may_be_hole) {
            let faults = match self.runner.interrupted(&waiting.row) {
                Ok(seen) => judge::faults(&waiting.row, Phase::Interrupted, &seen),
                Err(error) => vec![failed(Phase::Interrupted, &error)],
            };
            tried.faults = judge::without_hole(tried.faults, &faults);
            tried.uncut.extend(faults);
        }
        if timed {
            tried.faults.extend(judge::slow(&waiting.row, &tried.seen));
        }
        tried
    }

    /// Runs the uncut pipeline of a row, with the first of the streams that it can handle, and
    /// judges the observations.
    fn uncut(&self, row: &mut Row) -> Option<(Seen, Vec<Fault>)> {
        loop {
            let seen = self.runner.uncut(row);
            let (seen, faults) = match seen {
                Err(error) => (Seen::default(), vec![failed(Phase::Uncut, &error)]),
                Ok(seen) => {
                    row.silent = seen.end.is_none() && seen.goes_on && !seen.arrives;
                    let faults = judge::faults(row, Phase::Uncut, &seen);
                    (seen, faults)
                }
            };
            if faults.is_empty() || row.instead.is_empty() {
                return Some((seen, faults));
            }
            row.streams = vec![("s", row.instead.remove(0))];
        }
    }

    /// Adds a row to the table, and prints its result.
    fn done(&self, waiting: Waiting, outcome: Outcome) {
        let filled = Filled {
            row: waiting.row,
            outcome,
        };
        let mut all = lock(&self.filled);
        eprintln!(
            "{}/{}, {} s: {}: {}",
            all.len() + 1,
            self.total,
            self.started.elapsed().as_secs(),
            filled.row.title(),
            filled.verdict()
        );
        filled
            .details()
            .iter()
            .for_each(|detail| eprintln!("    {detail}"));
        all.push((waiting.number, filled));
    }
}
