//! Code that producer and client share: a pipeline that reports its messages and obeys the parent,
//! whatever its streaming thread does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use xmem_tests::roles::parent::{self, tell};
use xmem_tests::roles::{Result, pipeline};

/// What has passed since the order `reset`.
#[derive(Debug)]
pub struct Progress {
    /// Number of frames.
    pub frames: u64,
    /// Number of frames of which no byte-for-byte copy of what was sent has arrived.
    pub torn: u64,
    /// Number of frames that were whole on arrival but no longer when the next one arrived.
    pub changed: u64,
    /// Number of frame numbers that were skipped.
    pub missed: u64,
    /// Number of frames that arrived twice or out of order.
    pub repeated: u64,
    /// The number of the newest frame; a reset keeps it.
    pub number: u64,
    /// The time of the newest frame or of the reset.
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

    /// Counts a frame.
    pub fn frame(&mut self, number: u64) {
        self.frames += 1;
        self.number = number;
        self.longest_gap = self.longest_gap.max(self.last.elapsed());
        self.last = Instant::now();
    }

    /// Reports all values as fields of a line. The open gap counts too.
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

/// The progress, shared by a probe and the orders of the parent.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    /// Nothing has passed yet.
    pub fn new() -> Shared {
        Shared(Arc::new(Mutex::new(Progress::new(0))))
    }

    /// Locks the progress. The lock is not held while a frame is checked.
    pub fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the pipeline. It reports each message as `posted`, with the text of the element.
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

/// Plays and reports `played`, then obeys `figures`, `reset`, and what `obey` knows. Stops when the
/// parent closes the pipe, if the pipeline can be stopped in time.
pub fn play(pipeline: gst::Pipeline, progress: &Shared, mut obey: impl FnMut(&str)) -> Result<()> {
    // A state change may never return either.
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
