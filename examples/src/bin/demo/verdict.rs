//! The claims that the demo makes, and whether they hold.

use std::fmt;
use std::fs::File;
use std::io::Read;

use crate::leftovers::{self, Before};
use crate::place;
use crate::role::Role;
use crate::stage::Stage;
use crate::{Result, clip};

/// A claim, and what speaks against it.
#[derive(Debug)]
pub struct Check {
    subject: &'static str,
    claim: String,
    objections: Vec<String>,
}

impl Check {
    fn new(subject: &'static str, claim: impl Into<String>, objections: Objections) -> Check {
        Check {
            subject,
            claim: claim.into(),
            objections: objections.0,
        }
    }

    /// Whether the claim holds.
    pub fn passed(&self) -> bool {
        self.objections.is_empty()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check {
            subject,
            claim,
            objections,
        } = self;
        match self.passed() {
            true => write!(f, "{subject}: {claim}"),
            false => write!(f, "{subject}: {}", objections.join("; ")),
        }
    }
}

/// Collects what speaks against a claim.
#[derive(Debug, Default)]
struct Objections(Vec<String>);

impl Objections {
    /// `what` speaks against the claim, unless `holds`.
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// All claims. The show is over, and everybody has gone.
pub fn checks(stage: &Stage, before: &Before) -> Result<Vec<Check>> {
    Ok(vec![
        every_byte(stage),
        copied(stage),
        missed(stage),
        phoenix(stage),
        picture(stage),
        left("left in /dev/shm", &before.new_shared_memory()),
        left("left in the runtime directory", &stage.place.in_runtime()?),
        left("left running", &leftovers::children()?),
    ])
}

fn every_byte(stage: &Stage) -> Check {
    let mut objections = Objections::default();
    for (role, account) in stage.ledger.accounts() {
        let name = role.name();
        let (unequal, some) = (account.unequal.len(), account.unequal.iter().take(5));
        objections.unless(account.received > 0, || {
            format!("the {name} has received nothing")
        });
        objections.unless(unequal == 0, || {
            let some: Vec<_> = some.map(u64::to_string).collect();
            let some = some.join(", ");
            format!("the {name} saw other pixels in {unequal} frames (first: {some})")
        });
        objections.unless(account.is_settled(), || {
            format!("the {name} has received frames that were never published")
        });
    }
    let equal = stage.ledger.equal();
    let gigabytes = (equal * clip::FRAME_BYTES) as f64 / 1e9;
    let claim = format!("{equal} frames received, {gigabytes:.2} GB, all equal");
    Check::new("every byte compared", claim, objections)
}

fn copied(stage: &Stage) -> Check {
    let (published, figures) = (stage.ledger.published(), &stage.figures);
    let mut objections = Objections::default();
    objections.unless(
        figures.copied == 0 && figures.zero_copy == published,
        || format!("xmemsink has copied {} of {published}", figures.copied),
    );
    objections.unless(stage.ledger.published_in_place() == published, || {
        "the decoder did not always write into shared memory".into()
    });
    for (role, account) in stage.ledger.accounts() {
        objections.unless(account.copied == 0, || {
            format!("the {} got {} copies", role.name(), account.copied)
        });
    }
    let claim = "0; decoded into shared memory, and read there, read-only, by every client";
    Check::new("copied", claim, objections)
}

fn missed(stage: &Stage) -> Check {
    let (published, figures) = (stage.ledger.published(), &stage.figures);
    let mut objections = Objections::default();
    objections.unless(published == clip::FRAMES, || {
        format!("{published} of {} frames were decoded", clip::FRAMES)
    });
    objections.unless(
        figures.published == published && figures.dropped == 0,
        || {
            let (sent, dropped) = (figures.published, figures.dropped);
            format!("xmemsink has published {sent} and dropped {dropped} of {published}")
        },
    );
    let viewers_life = stage.ledger.account(Role::Viewer).life(0);
    objections.unless(viewers_life.is_some_and(|(first, _)| first == 0), || {
        "the viewer, who was first, has not seen frame 0".into()
    });
    for (role, account) in stage.ledger.accounts() {
        let (name, missed) = (role.name(), account.missed);
        objections.unless(missed == 0, || format!("the {name} has missed {missed}"));
        objections.unless(account.latest() == published.checked_sub(1), || {
            format!("the {name} has not seen the last frame")
        });
    }
    let claim =
        format!("0; the viewer has all {published} frames, the others all since they joined");
    Check::new("missed", claim, objections)
}

fn phoenix(stage: &Stage) -> Check {
    let account = stage.ledger.account(Role::Phoenix);
    let mut objections = Objections::default();
    objections.unless(stage.was_killed(Role::Phoenix), || "was not killed".into());
    let claim = match (account.life(0), account.life(1)) {
        (Some((_, last)), Some((first, _))) => {
            format!("killed after frame {last}, back with frame {first}")
        }
        _ => {
            objections.unless(false, || {
                "did not receive before and after its death".into()
            });
            String::new()
        }
    };
    Check::new("phoenix", claim, objections)
}

fn picture(stage: &Stage) -> Check {
    let mut objections = Objections::default();
    let mut signature = [0; 8];
    let is_png = File::open(&stage.picture)
        .and_then(|mut file| file.read_exact(&mut signature))
        .is_ok_and(|()| signature == *b"\x89PNG\r\n\x1a\n");
    let path = place::from_here(&stage.picture);
    objections.unless(is_png, || format!("there is none in {path}"));
    let claim = format!(
        "frame {} is in {path}, as the viewer received it",
        clip::PICTURED
    );
    Check::new("picture", claim, objections)
}

/// Nothing must be left.
fn left(subject: &'static str, what: &[String]) -> Check {
    let mut objections = Objections::default();
    objections.unless(what.is_empty(), || what.join(", "));
    Check::new(subject, "nothing", objections)
}
