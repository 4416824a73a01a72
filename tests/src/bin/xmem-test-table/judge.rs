//! Decides which observations are faults.

use std::fmt;

use crate::row::{Look, Row};
use crate::run::{Phase, Seen};

/// How soon the first picture or sound must arrive, in ms more than the uncut pipeline takes. The
/// table marks values above this.
pub const SOON: u64 = 200;

/// A delay above this is a fault in the long form, however busy the machine is.
pub const LATE: u64 = 1000;

/// What a client reports if its pipeline cannot be created.
pub const BROKEN: &str = "the row is wrong";

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The row does not describe a pipeline.
    Broken,
    /// Nothing more can come: a process has died or hangs, or an element has failed.
    Ended,
    /// GLib or an element has reported a problem.
    Complaint,
    /// No buffer arrived, or no more.
    Stalled,
    Missed,
    /// A negative running time.
    BelowZero,
    /// A running time that decreases.
    Backwards,
    /// More segments than the stream has.
    Segments,
    /// Content that the source has not made.
    Wrong,
    /// The first picture is late.
    Slow,
    /// Old frames arrive instead of new ones.
    Lag,
}

impl Kind {
    /// The name of the kind, in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Broken => "broken row",
            Kind::Ended => "ends",
            Kind::Complaint => "complaint",
            Kind::Stalled => "stalls",
            Kind::Missed => "missed",
            Kind::BelowZero => "below 0",
            Kind::Backwards => "backwards",
            Kind::Segments => "segments",
            Kind::Wrong => "wrong",
            Kind::Slow => "slow",
            Kind::Lag => "old",
        }
    }

    /// Whether the load of other rows can cause this fault.
    pub fn may_be_load(self) -> bool {
        [Kind::Missed, Kind::Slow, Kind::Lag].contains(&self)
    }
}

/// A fault.
#[derive(Clone, Debug)]
pub struct Fault {
    pub phase: Phase,
    pub kind: Kind,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase.name(), self.text)
    }
}

/// The faults of a phase, except those of its times.
pub fn faults(row: &Row, phase: Phase, seen: &Seen) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |kind, text: String| faults.push(Fault { phase, kind, text });
    let figures = &seen.figures;
    let published = match &seen.published {
        Some(published) => format!(", the producer: {published} published"),
        None => String::new(),
    };
    let count = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));

    if let Some(end) = &seen.end {
        let kind = if end.contains(BROKEN) {
            Kind::Broken
        } else {
            Kind::Ended
        };
        add(kind, end.clone());
    }
    for problem in &figures.problems {
        // The first error ends the client, and the others follow from it. Warnings on the bus
        // report what is counted here.
        if !problem.starts_with("error of") && !problem.starts_with("warning of") {
            add(Kind::Complaint, problem.clone());
        }
    }
    if seen.end.is_none() {
        let has_none = |counts: &[u64]| counts.is_empty() || counts.contains(&0);
        if has_none(&figures.ins) {
            add(
                Kind::Stalled,
                format!("nothing comes out of the source{published}"),
            );
        } else if !row.silent && has_none(&figures.outs) {
            let what = format!(
                "nothing arrives at the sink, {:?} have arrived",
                figures.ins
            );
            add(Kind::Stalled, what);
        } else if !seen.goes_on {
            let what = format!("it stalls after {:?} buffers{published}", figures.ins);
            add(Kind::Stalled, what);
        } else if !row.silent && !seen.arrives {
            let what = format!("no more arrives at the sink after {:?}", figures.outs);
            add(Kind::Stalled, what);
        }
    }
    if let Some(text) = count(figures.missed, "missed") {
        add(Kind::Missed, format!("{text} beside {:?}", figures.ins));
    }
    if let Some(text) = count(figures.below_zero, "buffers with a running time below 0") {
        let least = figures.least_running.unwrap_or(0) / 1000;
        add(Kind::BelowZero, format!("{text}, the least {least} us"));
    }
    if let Some(text) = count(
        figures.backwards,
        "buffers with a running time that goes back",
    ) {
        add(Kind::Backwards, text);
    }
    if figures.segments > 1 {
        add(Kind::Segments, format!("{} segments", figures.segments));
    }
    if let Some(text) = count(figures.wrong, "wrong") {
        let first = figures.first_wrong.as_deref().unwrap_or("");
        let text = format!("{text} of {} looked at: {first}", figures.looked_at);
        add(Kind::Wrong, text);
    }
    let has_arrived = figures.outs.iter().any(|count| *count > 0);
    if row.look == Look::Pictures && has_arrived && figures.looked_at == 0 {
        add(Kind::Wrong, "what arrives is not a picture".into());
    }
    if let Some(most) = row.most_lag
        && figures.lag > most
    {
        let lag = figures.lag;
        add(
            Kind::Lag,
            format!("what arrives is {lag} frames old, {most} are allowed"),
        );
    }
    faults
}

/// Whether clients that joined late waited too long for their first picture or sound.
pub fn slow(row: &Row, seen: &[(Phase, Seen)]) -> Option<Fault> {
    let wait = wait_beyond_uncut(seen)?;
    let is_slow = row.look != Look::Arrival && row.joins > 1 && wait > LATE;
    is_slow.then(|| Fault {
        phase: Phase::Late,
        kind: Kind::Slow,
        text: format!("the first one takes {wait} ms more than uncut, the median of joins"),
    })
}

/// How long clients that joined late waited for their first buffer at the sink, less what the uncut
/// pipeline takes, in ms. The median.
pub fn wait_beyond_uncut(seen: &[(Phase, Seen)]) -> Option<u64> {
    let wait = |phase| {
        let (_, seen) = seen.iter().find(|(at, _)| *at == phase)?;
        median(&seen.waits)
    };
    Some(wait(Phase::Late)?.saturating_sub(wait(Phase::Uncut).unwrap_or(0)))
}

/// Whether a gap in the stream can cause this fault. Replacing a producer leaves a gap, and the
/// first buffer for a client that joins late may be a fragment.
pub fn may_be_hole(fault: &Fault) -> bool {
    fault.phase.is_replaced() || (fault.phase, fault.kind) == (Phase::Late, Kind::Wrong)
}

/// The faults that the uncut pipeline does not have if its stream has a gap.
pub fn without_hole(faults: Vec<Fault>, uncut: &[Fault]) -> Vec<Fault> {
    let (of_holes, mut left): (Vec<_>, Vec<_>) = faults.into_iter().partition(may_be_hole);
    left.extend(without(of_holes, uncut));
    left
}

/// The faults that the uncut pipeline does not have.
pub fn without(faults: Vec<Fault>, uncut: &[Fault]) -> Vec<Fault> {
    let useless = uncut
        .iter()
        .any(|fault| [Kind::Ended, Kind::Stalled].contains(&fault.kind));
    // If the uncut pipeline does not work at all, faults say nothing about the cut, except for lost
    // frames.
    let is_excused = |fault: &Fault| match fault.kind {
        Kind::Missed | Kind::Broken => false,
        kind => useless || uncut.iter().any(|other| other.kind == kind),
    };
    let mut left = faults;
    left.retain(|fault| !is_excused(fault));
    left
}

/// The middle value.
pub fn median(waits: &[u64]) -> Option<u64> {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}
