//! Running a pipeline in a child.

use gst::prelude::*;

use crate::report::Report;
use crate::{Result, parent};

/// How often `play` lets its caller do something.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(200);

/// Makes a pipeline.
pub fn launch(description: &str) -> Result<gst::Pipeline> {
    let element = gst::parse::launch(description)?;
    element
        .downcast()
        .map_err(|_| format!("\"{description}\" is not a pipeline").into())
}

/// The element of this name.
pub fn element(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Element> {
    let element = pipeline.by_name(name);
    element.ok_or_else(|| format!("the pipeline has no {name}").into())
}

/// Plays it to its end, and stops it. Warnings are reported.
///
/// # Errors
/// What an element says went wrong.
pub fn play(pipeline: &gst::Pipeline, tick: impl Fn()) -> Result<()> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let played = pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| error.to_string())
        .and_then(|_| until_end(&bus, tick));
    let result = match played {
        // The message says more than the failed change of state does.
        Err(text) => Err(error_on(&bus).unwrap_or(text).into()),
        Ok(()) => Ok(()),
    };
    let stopped = pipeline.set_state(gst::State::Null);
    result.and(stopped.map(drop).map_err(Into::into))
}

fn until_end(bus: &gst::Bus, tick: impl Fn()) -> std::result::Result<(), String> {
    use gst::MessageView;
    loop {
        let message = bus.timed_pop_filtered(
            TICK,
            &[
                gst::MessageType::Eos,
                gst::MessageType::Error,
                gst::MessageType::Warning,
            ],
        );
        tick();
        match message.as_ref().map(|message| message.view()) {
            Some(MessageView::Eos(_)) => return Ok(()),
            Some(MessageView::Error(error)) => return Err(sentence(error)),
            Some(MessageView::Warning(warning)) => {
                parent::tell(&Report::Warned(warning.error().to_string()));
            }
            _ => {}
        }
    }
}

fn error_on(bus: &gst::Bus) -> Option<String> {
    let message = bus.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(sentence(error)),
        _ => None,
    }
}

fn sentence(error: &gst::message::Error) -> String {
    let source = error.src().map(|source| source.name().to_string());
    format!("{}: {}", source.unwrap_or_default(), error.error())
}
