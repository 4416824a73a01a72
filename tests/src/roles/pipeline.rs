//! The pipeline of a child.

use std::sync::mpsc;

use gst::prelude::*;

use super::Result;
use super::child::STOP_LIMIT;

/// Initialises GStreamer and creates the pipeline. `posted` receives the messages of its elements,
/// in their threads.
///
/// # Errors
/// If the description is wrong.
pub fn launch(
    description: &str,
    posted: impl Fn(&gst::Message) + Send + Sync + 'static,
) -> Result<gst::Pipeline> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| format!("{description:?} is not a pipeline"))?;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    bus.set_sync_handler(move |_, message| {
        posted(message);
        gst::BusSyncReply::Drop
    });
    Ok(pipeline)
}

/// The pad `pad` of the element `element`.
///
/// # Errors
/// If it does not exist.
pub fn pad(pipeline: &gst::Pipeline, element: &str, pad: &str) -> Result<gst::Pad> {
    pipeline
        .by_name(element)
        .and_then(|element| element.static_pad(pad))
        .ok_or_else(|| format!("no pad {element}.{pad}").into())
}

/// Stops the pipeline, so that its elements leave nothing behind. Gives up after [`STOP_LIMIT`].
///
/// # Errors
/// If it does not stop.
pub fn stop(pipeline: gst::Pipeline) -> Result<()> {
    let (stopped, wait) = mpsc::channel();
    std::thread::spawn(move || stopped.send(pipeline.set_state(gst::State::Null).is_ok()));
    match wait.recv_timeout(STOP_LIMIT) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the pipeline failed to stop".into()),
        Err(_) => Err(format!("the pipeline did not stop within {STOP_LIMIT:?}").into()),
    }
}
