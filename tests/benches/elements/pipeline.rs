//! Code that producer and client share: a pipeline that reports its errors and obeys the parent.

use gst::prelude::*;
use xmem_tests::roles::parent::{self, tell, tell_error};
pub use xmem_tests::roles::pipeline::pad;
use xmem_tests::roles::pipeline::{self, stop};

use crate::Result;

/// Initialises GStreamer and creates the pipeline; errors are reported to the parent.
pub fn launch(description: &str) -> Result<gst::Pipeline> {
    pipeline::launch(description, |message| {
        if let gst::MessageView::Error(error) = message.view() {
            tell_error(format!(
                "{} ({})",
                error.error(),
                error.debug().unwrap_or_default()
            ));
        }
    })
}

/// Plays, reports `ready`, passes each order of the parent to `obey`, and stops when the parent
/// closes the pipe.
pub fn play(pipeline: gst::Pipeline, mut obey: impl FnMut(&str)) -> Result<()> {
    let played = pipeline.set_state(gst::State::Playing);
    if played.is_err() {
        stop(pipeline)?;
        return Err("the pipeline does not play".into());
    }
    self::obey(pipeline, |_, order| obey(order))
}

/// Reports `ready`, passes each order of the parent to `obey`, and stops when the parent closes the
/// pipe.
pub fn obey(pipeline: gst::Pipeline, mut obey: impl FnMut(&gst::Pipeline, &str)) -> Result<()> {
    tell("ready", "");
    parent::orders().for_each(|order| obey(&pipeline, &order));
    stop(pipeline)
}
