//! The show: what happens when, and how it ends.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::guard::Interrupted;
use crate::leftovers::Before;
use crate::report::Order;
use crate::role::Role;
use crate::screen::Screen;
use crate::stage::Stage;
use crate::table::{self, Rate};
use crate::{Result, clip, verdict};

/// How long an act may take to come. Only a show that hangs takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something to do, as soon as something else has happened.
struct Act {
    /// What has to happen first, in words.
    cue: &'static str,
    is_due: fn(&Stage) -> bool,
    perform: fn(&mut Stage) -> Result<()>,
}

/// The acts, one after the other. Nothing here goes by the clock, so a slow machine shows the same.
const ACTS: [Act; 9] = [
    Act {
        cue: "the show to begin",
        is_due: |_| true,
        perform: |stage| {
            let text = format!(
                "encodes {} s of H.264, {}x{} at {} fps",
                clip::FRAMES / clip::RATE,
                clip::WIDTH,
                clip::HEIGHT,
                clip::RATE
            );
            stage.start(Role::Encoder, &text)
        },
    },
    Act {
        cue: "the clip to be encoded",
        is_due: |stage| stage.has_ended(Role::Encoder),
        perform: |stage| {
            stage.screen.clear();
            let bytes = std::fs::metadata(stage.place.clip())?.len();
            let text = format!("is done: the clip has {:.1} MB", bytes as f64 / 1e6);
            stage.screen.event(Role::Encoder.name(), &text);
            stage.start(Role::Viewer, "starts, and waits for a producer")?;
            stage.order(Role::Viewer, &Order::Picture(stage.picture.clone()))
        },
    },
    Act {
        cue: "the viewer to be up",
        is_due: |stage| stage.has_started(Role::Viewer),
        perform: |stage| {
            let text = "starts: decodes the clip into shared memory";
            stage.start(Role::Producer, text)
        },
    },
    Act {
        cue: "the stream to begin",
        is_due: |stage| has_published(stage, 5),
        perform: |stage| stage.start(Role::Meter, "starts: Rust on xmem-core, no GStreamer"),
    },
    Act {
        cue: "the meter to receive",
        is_due: |stage| has_published(stage, 8) && has_received(stage, Role::Meter),
        perform: |stage| stage.start(Role::Phoenix, "starts"),
    },
    Act {
        cue: "the phoenix to receive",
        is_due: |stage| has_published(stage, 45) && has_received(stage, Role::Phoenix),
        perform: |stage| stage.kill(Role::Phoenix),
    },
    Act {
        cue: "the stream to go on without the phoenix",
        is_due: |stage| has_published(stage, 60),
        perform: |stage| stage.start(Role::Phoenix, "starts once more"),
    },
    Act {
        cue: "the phoenix to be back, and the picture to be taken",
        is_due: |stage| {
            let phoenix = stage.ledger.account(Role::Phoenix);
            phoenix.life(1).is_some() && stage.is_pictured()
        },
        perform: |stage| stage.order(Role::Producer, &Order::MayEnd),
    },
    Act {
        cue: "everybody to see the end of the stream",
        is_due: Stage::is_empty,
        perform: |_| Ok(()),
    },
];

/// Whether so many hundredths of the clip were published.
fn has_published(stage: &Stage, percent: u64) -> bool {
    stage.ledger.published() * 100 >= clip::FRAMES * percent
}

fn has_received(stage: &Stage, client: Role) -> bool {
    stage.ledger.account(client).received > 0
}

/// The whole demo.
pub fn main() -> ExitCode {
    match show() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if !error.is::<Interrupted>() {
                eprintln!("demo: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether all claims hold.
fn show() -> Result<bool> {
    let before = Before::the_show()?;
    let mut screen = Screen::new();
    screen.line(
        "xmem: one producer, three clients, each a process of its own. No frame is copied.\n",
    );
    let mut stage = Stage::new(screen)?;
    for act in &ACTS {
        play(act, &mut stage)?;
    }
    let table = table::table(&stage, Rate::Mean);
    stage.screen.settle(table);
    stage.screen.line(table::LEGEND);
    conclude(&mut stage, &before)
}

fn play(act: &Act, stage: &mut Stage) -> Result<()> {
    let started_at = Instant::now();
    while !(act.is_due)(stage) {
        if started_at.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain for {}", act.cue).into());
        }
        stage.step()?;
    }
    (act.perform)(stage)
}

fn conclude(stage: &mut Stage, before: &Before) -> Result<bool> {
    let checks = verdict::checks(stage, before)?;
    for check in &checks {
        let mark = stage.screen.mark(check.passed());
        stage.screen.line(&format!("{mark} {check}"));
    }
    let failed = checks.iter().filter(|check| !check.passed()).count();
    let seconds = stage.screen.elapsed().as_secs_f64();
    stage.screen.line(&match failed {
        0 => format!("\nAll of it holds. The demo took {seconds:.1} s."),
        _ => format!("\n{failed} of {} claims do not hold.", checks.len()),
    });
    Ok(failed == 0)
}
