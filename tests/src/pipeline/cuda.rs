//! Pipelines with frames in the memory of CUDA devices, and a client of them without GStreamer's elements.

use serde::{Deserialize, Serialize};

use super::{Pipeline, State};
use crate::fakecuda::{FakeCuda, OWNED};
use crate::line::Line;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::wait::until;

/// Raw video in CUDA memory. Without the memory in caps between them, elements pass system memory on.
pub const CUDA: &str = "video/x-raw(memory:CUDAMemory)";

/// Orders to an `xmem-test-pictures`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Pictures {
    /// Receive the next frame and keep it. Waits so many milliseconds.
    Next(u64),
    /// Report the digest of the oldest frame that is kept once more.
    Again,
    /// Drop the oldest frame that is kept.
    Drop,
    /// Receive so many frames, or until the stream ends, and report their digests.
    Run(u64),
}

impl Order for Pictures {
    const PROGRAM: &'static str = "xmem-test-pictures";

    fn answer(&self) -> &'static str {
        match self {
            Pictures::Next(_) => "picture",
            Pictures::Run(_) => "ended",
            _ => "done",
        }
    }
}

/// Starts a pipeline on the stand-in for the driver, in NULL.
pub fn start(place: &Place, driver: &FakeCuda, watches: &[&str], description: &str) -> Pipeline {
    Pipeline::start_as(place, watches, description, |mut command| {
        driver.apply_to_gstreamer(&mut command);
        command
    })
}

/// As [`start`], and plays the pipeline.
pub fn play(place: &Place, driver: &FakeCuda, watches: &[&str], description: &str) -> Pipeline {
    let mut pipeline = start(place, driver, watches, description);
    pipeline.change(State::Playing);
    pipeline
}

/// Starts a client of a channel that reads pictures, with settings as `key=value` words: `channel` (`cam0`),
/// `leases`, `device_memory` (`no`).
pub fn pictures(place: &Place, driver: &FakeCuda, settings: &str) -> Peer<Pictures> {
    let mut command = Peer::<Pictures>::command(settings);
    driver.apply(&mut command);
    Peer::start_with(command, place)
}

/// Ends a pipeline. It must give everything of the driver back, if perhaps after it is in NULL: what a flush
/// has made void is on a thread of its own.
pub fn end_with_nothing_left(driver: &FakeCuda, pipeline: &mut Pipeline) {
    pipeline.change(State::Null);
    let mut control = driver.control(pipeline.pid());
    until("all is given back", || {
        let alive = control.alive();
        OWNED.iter().all(|kind| alive.number(kind) == 0)
    });
    pipeline.end();
    driver.assert_nothing_left(pipeline.pid(), &OWNED);
}

/// The digests of the pictures of a pipeline in system memory that is not cut in two.
pub fn uncut(source: &str) -> Vec<String> {
    let description = format!("{source} ! fakesink name=out");
    let mut plain = Pipeline::play(&Place::new(), &["report out.sink"], &description);
    plain.until_eos();
    let digests = plain.digests("out.sink").into_iter();
    digests.map(str::to_owned).collect()
}

/// The digests in an answer to [`Pictures::Run`].
pub fn digests(ended: &Line) -> Vec<&str> {
    let digests = ended.text("digests").split(',');
    digests.filter(|digest| !digest.is_empty()).collect()
}
