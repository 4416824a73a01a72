//! The producer: decodes the clip in real time, straight into shared memory.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use gst::prelude::*;

use crate::inspector::Inspector;
use crate::mapping::Access;
use crate::report::{Figures, Order, Report, Sight};
use crate::{Result, elements, parent, pipeline};

/// The clock is waited for by `identity`, so that a buffer that reaches the sink is published at
/// once: between the two the time is taken that latencies are counted from.
///
/// `overflow=block` because here every frame matters: the producer waits for its clients. Nothing
/// is published before there is one.
const PIPELINE: &str = "filesrc name=file ! matroskademux ! avdec_h264 ! identity sync=true \
    ! xmemsink name=sink channel=demo sync=false wait-for-connection=true \
      overflow=block block-timeout=30000000000";

/// Plays the clip once. It says that it has ended only when the demo has given leave.
pub fn main(clip: &Path, orders: Receiver<Order>) -> Result<()> {
    elements::init()?;
    let pipeline = pipeline::launch(PIPELINE)?;
    pipeline::element(&pipeline, "file")?.set_property("location", clip);
    let sink = pipeline::element(&pipeline, "sink")?;
    let pad = sink.static_pad("sink").ok_or("xmemsink has no pad")?;
    report_frames(&pad);
    hold_the_end(&pad, orders);
    parent::tell(&Report::Started);
    // The last figures are told when the stream has ended, before the sink stops.
    pipeline::play(&pipeline, || parent::tell(&Report::Counted(figures(&sink))))?;
    parent::tell(&Report::Ended);
    Ok(())
}

/// Reports each frame just before it is published.
fn report_frames(pad: &gst::Pad) {
    let watch = Mutex::new((Inspector::default(), 0..));
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        let (inspector, numbers) = &mut *watch;
        if let (Some(buffer), Some(seq)) = (info.buffer(), numbers.next()) {
            match inspector.look(pad, buffer) {
                Ok((print, access)) => parent::tell(&Report::Published(Sight {
                    seq,
                    print,
                    in_place: access == Some(Access::ReadWrite),
                    at: parent::now(),
                })),
                Err(error) => gst::element_error!(
                    pad.parent_element().expect("the pad of a sink"),
                    gst::StreamError::Failed,
                    ("{error}")
                ),
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Keeps the end of the stream back until it may come.
fn hold_the_end(pad: &gst::Pad, orders: Receiver<Order>) {
    let orders = Mutex::new(orders);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && event.type_() == gst::EventType::Eos
        {
            let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
            // An error is as good: the demo is gone, and this process ends.
            let _ = orders.iter().find(|order| *order == Order::MayEnd);
        }
        gst::PadProbeReturn::Ok
    });
}

fn figures(sink: &gst::Element) -> Figures {
    let stats = sink.property::<gst::Structure>("stats");
    let number = |name| stats.get::<u64>(name).unwrap_or_default();
    Figures {
        published: number("published"),
        zero_copy: number("zero-copy"),
        copied: number("copied"),
        dropped: number("dropped"),
        slots: stats.get::<u32>("slots").unwrap_or_default().into(),
        memory: number("memory"),
    }
}
