//! A producer process.

use gst::prelude::*;
use xmem_tests::Line;
use xmem_tests::roles::parent::{self, tell, tell_error};
use xmem_tests::roles::{Result, pipeline};

/// Plays a pipeline until the standard input ends. If `ppm` is not 0, its clock is `ppm` millionths
/// too fast.
///
/// Reports `ready`, and on the order `published` the number of frames that its sinks have
/// published.
pub fn main(ppm: &str, description: &str) -> Result<()> {
    let pipeline = pipeline::launch(description, |message| {
        if let gst::MessageView::Error(error) = message.view() {
            tell_error(format!(
                "{} ({})",
                error.error(),
                error.debug().unwrap_or_default()
            ));
        }
    })?;
    set_clock(&pipeline, ppm.parse()?);
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| "the pipeline does not play")?;
    tell("ready", "");
    for order in parent::orders() {
        if order == "published" {
            let published = sinks(&pipeline).map(|sink| {
                let stats = sink.property::<gst::Structure>("stats");
                stats.get::<u64>("published").unwrap_or_default()
            });
            tell(
                "published",
                Line::new("count").with("frames", published.sum::<u64>()),
            );
        }
    }
    pipeline::stop(pipeline)
}

fn sinks(pipeline: &gst::Pipeline) -> impl Iterator<Item = gst::Element> {
    let sinks = pipeline.iterate_all_by_element_factory_name("xmemsink");
    sinks.into_iter().flatten()
}

/// Sets a clock of the pipeline that is faster or slower than the system clock.
fn set_clock(pipeline: &gst::Pipeline, ppm: i64) {
    if ppm == 0 {
        return;
    }
    let clock = gst::glib::Object::builder::<gst::SystemClock>()
        .property("name", "other")
        .build();
    let now = clock.internal_time();
    let rate = 1_000_000_u64.saturating_add_signed(ppm);
    clock.set_calibration(now, now, rate, 1_000_000);
    pipeline.use_clock(Some(&clock));
}
