//! A child's pipeline.

use std::sync::mpsc;

use gst::prelude::*;

use super::Result;
use super::child::STOP_LIMIT;

/// Starts GStreamer and makes the pipeline; `posted` sees what its elements post, in their threads.
///
/// # Errors
/// What is wrong with the description.
pub fn launch(
    description: &str,
    posted: impl Fn(&gst::Message) + Send + Sync + 'static,
) -> Result<gst::Pipeline> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| format!("{description:?} is no pipeline"))?;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    bus.set_sync_handler(move |_, message| {
        posted(message);
        gst::BusSyncReply::Drop
    });
    Ok(pipeline)
}

/// The pad named `pad` of the element named `element`.
///
/// # Errors
/// When there is none.
pub fn pad(pipeline: &gst::Pipeline, element: &str, pad: &str) -> Result<gst::Pad> {
    pipeline
        .by_name(element)
        .and_then(|element| element.static_pad(pad))
        .ok_or_else(|| format!("there is no {element}.{pad}").into())
}

/// Stops the pipeline, so that its elements leave nothing behind; gives up after [`STOP_LIMIT`].
///
/// # Errors
/// When it does not stop.
pub fn stop(pipeline: gst::Pipeline) -> Result<()> {
    let (stopped, wait) = mpsc::channel();
    std::thread::spawn(move || stopped.send(pipeline.set_state(gst::State::Null).is_ok()));
    match wait.recv_timeout(STOP_LIMIT) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the pipeline failed to stop".into()),
        Err(_) => Err(format!("the pipeline did not stop within {STOP_LIMIT:?}").into()),
    }
}
