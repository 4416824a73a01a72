//! The producer process: a test source into the sink under test, and a stamp in each frame between
//! them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::{Bill, Usage};

use crate::frame::{CAPS, Header, Phase};
use crate::pipeline;
use crate::{Error, Result};

/// Runs the producer until its standard input ends. The sink must have the name `sink`.
///
/// The order `measure` opens the window after `warmup` frames. `bill` is reported when the window
/// closes.
///
/// The pattern matters: the source draws most patterns once and then copies or shares the frame, so
/// it does not write each frame. `blink` is drawn for each frame, and is the cheapest pattern of
/// that kind.
pub fn main(sink: &str, warmup: &str, frames: &str) -> Result<()> {
    let (warmup, frames): (u64, u64) = (warmup.parse()?, frames.parse()?);
    let pipeline = pipeline::launch(&format!(
        "videotestsrc is-live=true pattern=blink ! {CAPS} ! {sink}"
    ))?;
    let sent = Arc::new(AtomicU64::new(0));
    let opens_at = Arc::new(AtomicU64::new(u64::MAX));

    let window = Mutex::new(Window {
        frames,
        opens_at: opens_at.clone(),
        opened: None,
        bill: None,
    });
    let counter = sent.clone();
    pipeline::pad(&pipeline, "sink", "sink")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let phase = window
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .phase(counter.fetch_add(1, Ordering::Relaxed));
            match info
                .buffer_mut()
                .ok_or_else(|| "no buffer in a buffer probe".into())
                .and_then(|b| stamp(b, phase))
            {
                Ok(()) => gst::PadProbeReturn::Ok,
                Err(error) => {
                    tell_error(error);
                    gst::PadProbeReturn::Remove
                }
            }
        },
    );
    pipeline::play(pipeline, |order| {
        if order == "measure" {
            opens_at.store(sent.load(Ordering::Relaxed) + warmup, Ordering::Relaxed);
        }
    })
}

/// The measured part of the stream, in the producer.
struct Window {
    frames: u64,
    opens_at: Arc<AtomicU64>,
    opened: Option<Usage>,
    bill: Option<Bill>,
}

impl Window {
    /// Returns the phase of frame number `number`. Opens the window, and closes it with a report,
    /// at the frames that start and end it.
    ///
    /// At both ends a frame has just been written and is not sent yet, so `frames` complete frames
    /// lie between them.
    fn phase(&mut self, number: u64) -> Phase {
        let opens_at = self.opens_at.load(Ordering::Relaxed);
        if number < opens_at {
            return Phase::Warmup;
        }
        let opened = *self.opened.get_or_insert_with(Usage::now);
        if number - opens_at < self.frames {
            return Phase::Measured;
        }
        if self.bill.is_none() {
            let bill = opened.bill(self.frames);
            tell("bill", bill);
            self.bill = Some(bill);
        }
        Phase::Done
    }
}

/// Writes the stamp into a frame in place. Returns an error if that needs a copy, because the copy
/// would be measured as work of the sink.
fn stamp(buffer: &mut gst::Buffer, phase: Phase) -> Result<()> {
    let shared =
        || Error::from("a frame reaches the sink shared, so it cannot be stamped without a copy");
    let buffer = buffer.get_mut().ok_or_else(shared)?;
    let written = buffer.peek_memory(0).as_ptr();
    {
        let mut map = buffer.map_writable()?;
        Header::stamp(&mut map, phase);
    }
    if buffer.peek_memory(0).as_ptr() == written {
        Ok(())
    } else {
        Err(shared())
    }
}
