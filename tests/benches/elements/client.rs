//! A client process: runs the source under test, and times each frame on arrival, reads all of it
//! and drops it.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::{Usage, monotonic_ns};
use xmem_tests::samples::to_text;

use crate::Result;
use crate::frame::{self, Header, Phase};
use crate::pipeline;

/// Runs a client until its standard input ends. The source must have the name `source`.
///
/// Reports `receiving` at its first frame, and `latencies` (ns) and `bill` when the window closes.
pub fn main(source: &str, frames: &str) -> Result<()> {
    let pipeline = pipeline::launch(&format!("{source} ! fakesink sync=false"))?;
    let reader = Mutex::new(Reader::new(frames.parse()?));
    pipeline::pad(&pipeline, "source", "src")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let arrived_ns = monotonic_ns();
            if let Some(buffer) = info.buffer() {
                reader
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(buffer, arrived_ns);
            }
            gst::PadProbeReturn::Ok
        },
    );
    pipeline::play(pipeline, |_| {})
}

/// The state of a client while it reads its frames.
struct Reader {
    receiving: bool,
    /// When the window opened; `None` before that and after the window has closed.
    opened: Option<Usage>,
    latencies: Vec<u64>,
}

impl Reader {
    fn new(frames: usize) -> Reader {
        // All entries are written here, so their pages exist when the window opens.
        let mut latencies = vec![u64::MAX; frames];
        latencies.clear();
        Reader {
            receiving: false,
            opened: None,
            latencies,
        }
    }

    fn take(&mut self, buffer: &gst::Buffer, arrived_ns: u64) {
        let map = match buffer.map_readable() {
            Ok(map) => map,
            Err(error) => return tell_error(format!("a frame cannot be mapped: {error}")),
        };
        let Some(header) = Header::read(&map) else {
            return tell_error(format!(
                "{} bytes are not a frame of this bench",
                map.size()
            ));
        };
        match header.phase {
            Phase::Warmup => {}
            Phase::Measured => {
                self.opened.get_or_insert_with(Usage::now);
                self.latencies
                    .push(arrived_ns.saturating_sub(header.stamp_ns));
            }
            Phase::Done => self.close(),
        }
        black_box(frame::sum(&map));
        if !std::mem::replace(&mut self.receiving, true) {
            tell("receiving", "");
        }
    }

    /// Closes the window, once, and reports.
    fn close(&mut self) {
        if let Some(opened) = self.opened.take() {
            let bill = opened.bill(self.latencies.len() as u64);
            tell("latencies", to_text(&self.latencies));
            tell("bill", bill);
        }
    }
}
