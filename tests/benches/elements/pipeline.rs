//! What producer and client have in common: a pipeline that reports its errors and obeys the parent.

use std::sync::mpsc;

use gst::prelude::*;

use crate::Result;
use crate::child::STOP_LIMIT;
use crate::parent::{self, tell, tell_error};

/// Starts GStreamer and makes the pipeline; its errors are reported to the parent.
pub fn launch(description: &str) -> Result<gst::Pipeline> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| format!("{description:?} is no pipeline"))?;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    bus.set_sync_handler(|_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            tell_error(format!(
                "{} ({})",
                error.error(),
                error.debug().unwrap_or_default()
            ));
        }
        gst::BusSyncReply::Drop
    });
    Ok(pipeline)
}

/// The pad named `pad` of the element named `element`.
pub fn pad(pipeline: &gst::Pipeline, element: &str, pad: &str) -> Result<gst::Pad> {
    pipeline
        .by_name(element)
        .and_then(|element| element.static_pad(pad))
        .ok_or_else(|| format!("there is no {element}.{pad}").into())
}

/// Plays, reports `ready`, hands each order of the parent to `obey`, and stops when the parent closes the pipe.
pub fn play(pipeline: gst::Pipeline, mut obey: impl FnMut(&str)) -> Result<()> {
    let played = pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| "the pipeline does not play".into());
    if played.is_ok() {
        tell("ready", "");
        parent::orders().for_each(|order| obey(&order));
    }
    stop(pipeline)?;
    played.map(|_| ())
}

/// Stops the pipeline, so that its elements leave nothing behind; gives up after [`STOP_LIMIT`].
fn stop(pipeline: gst::Pipeline) -> Result<()> {
    let (stopped, wait) = mpsc::channel();
    std::thread::spawn(move || stopped.send(pipeline.set_state(gst::State::Null).is_ok()));
    match wait.recv_timeout(STOP_LIMIT) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the pipeline failed to stop".into()),
        Err(_) => Err(format!("the pipeline did not stop within {STOP_LIMIT:?}").into()),
    }
}
