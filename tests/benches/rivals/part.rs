//! What producer and client have in common: a pipeline that tells what happens to it and obeys the parent, whatever
//! its streaming thread does meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use xmem_tests::roles::parent::{self, tell};
use xmem_tests::roles::{Result, pipeline};

/// What has passed since the order `reset`.
#[derive(Debug)]
pub struct Progress {
    /// Frames.
    pub frames: u64,
    /// Frames of which no byte-for-byte copy of what was sent has arrived.
    pub torn: u64,
    /// Frames that were whole when they arrived and were not any more when the next one did.
    pub changed: u64,
    /// Numbers that were left out.
    pub missed: u64,
    /// Frames that came again, or too late.
    pub repeated: u64,
    /// The number of the latest frame, which a reset leaves.
    pub number: u64,
    /// The latest frame, or the reset.
    last: Instant,
    longest_gap: Duration,
}

impl Progress {
    fn new(number: u64) -> Progress {
        Progress {
            frames: 0,
            torn: 0,
            changed: 0,
            missed: 0,
            repeated: 0,
            number,
            last: Instant::now(),
            longest_gap: Duration::ZERO,
        }
    }

    /// A frame passes.
    pub fn frame(&mut self, number: u64) {
        self.frames += 1;
        self.number = number;
        self.longest_gap = self.longest_gap.max(self.last.elapsed());
        self.last = Instant::now();
    }

    /// All of it as fields of a line; the gap that is still open counts too.
    fn tell(&self) {
        let Progress {
            frames,
            torn,
            changed,
            missed,
            repeated,
            number,
            ..
        } = self;
        let age = self.last.elapsed();
        let gap = self.longest_gap.max(age).as_millis();
        let age = age.as_millis();
        tell(
            "figures",
            format!(
                "frames={frames} torn={torn} changed={changed} missed={missed} \
                 repeated={repeated} number={number} gap={gap} age={age}"
            ),
        );
    }
}

/// The progress that a probe and the parent's orders share.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    /// Nothing has passed.
    pub fn new() -> Shared {
        Shared(Arc::new(Mutex::new(Progress::new(0))))
    }

    /// To look at or to change; never held while a frame is looked at.
    pub fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the pipeline. What it posts is told as `posted`, with the elements' own words.
pub fn launch(description: &str) -> Result<gst::Pipeline> {
    pipeline::launch(description, |message| match message.view() {
        gst::MessageView::Error(error) => {
            let text = error.error().to_string().replace('\n', " ");
            tell("posted", format!("what=error text={text}"));
        }
        gst::MessageView::Eos(_) => tell("posted", "what=eos"),
        _ => {}
    })
}

/// Plays and tells `played`; then obeys: `figures`, `reset`, and what `obey` knows. Stops when the parent closes the
/// pipe, if it can be stopped in time.
pub fn play(pipeline: gst::Pipeline, progress: &Shared, mut obey: impl FnMut(&str)) -> Result<()> {
    // A change of state may never end either.
    let to_play = pipeline.clone();
    std::thread::spawn(move || match to_play.set_state(gst::State::Playing) {
        Ok(_) => tell("played", "result=ok"),
        Err(_) => tell("played", "result=failure"),
    });
    for order in parent::orders() {
        match order.as_str() {
            "figures" => progress.lock().tell(),
            "reset" => {
                let mut progress = progress.lock();
                *progress = Progress::new(progress.number);
                tell("reset", "");
            }
            other => obey(other),
        }
    }
    pipeline::stop(pipeline)
}
