//! A producer process: a test source into the sink under test. Each frame is written completely
//! before the sink.

use gst::prelude::*;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::pipeline::pad;
use xmem_tests::roles::{Result, monotonic_ns};

use crate::frame::{CAPS, Header};
use crate::part::{self, Shared};

/// Runs the producer until its standard input ends. The sink must have the name `sink`.
///
/// Reports `producing` when its first frame reaches the sink. A frame counts when it reaches the
/// sink, so the frame in which the sink blocks is the last one counted.
///
/// The pattern matters: the source draws most patterns once and shares them, and a shared frame
/// cannot be written here without a copy.
pub fn main(sink: &str) -> Result<()> {
    let pipeline = part::launch(&format!(
        "videotestsrc is-live=true pattern=blink ! {CAPS} ! {sink}"
    ))?;
    let progress = Shared::new();
    let mut number = 0;
    let counted = progress.clone();
    let write = std::sync::Mutex::new(move |buffer: &mut gst::Buffer| -> Result<()> {
        let buffer = buffer.get_mut().ok_or("a frame reaches the sink shared")?;
        let header = Header {
            number,
            producer: u64::from(std::process::id()),
        };
        header.fill(&mut buffer.map_writable()?);
        if number == 0 {
            tell("producing", format!("at={}", monotonic_ns()));
        }
        counted.lock().frame(number);
        number += 1;
        Ok(())
    });
    pad(&pipeline, "sink", "sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let mut write = write.lock().unwrap_or_else(|error| error.into_inner());
        let written = info.buffer_mut().map(&mut *write);
        if let Some(Err(error)) = written {
            tell_error(error);
        }
        gst::PadProbeReturn::Ok
    });
    part::play(pipeline, &progress, |_| {})
}
