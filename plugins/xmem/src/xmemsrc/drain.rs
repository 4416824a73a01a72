//! The producer wants the memory of its frames back: what sinks downstream keep of them, they copy.
//!
//! A DRAIN query from here might wait for ever. A queue answers it when it has answered for all that
//! is before it, `splitmuxsink` lets nothing out of its queue before more has come in, and `appsink`
//! waits until the application has taken everything, even while it is to stop. So an event goes down
//! the stream, which waits for nothing; and a sink that it arrives at is asked there and then, on
//! the thread that brings it its buffers.

use gst::glib;
use gst::prelude::*;

use crate::bindings;

/// The event's name. No sink gets to see it.
const NAME: &str = "xmem-drain";
/// Most pads that are looked at on the way to the sinks.
const MAX_PADS: usize = 4096;

/// The sinks that are watched for the event.
#[derive(Default)]
pub(super) struct Drain {
    sinks: Vec<(glib::WeakRef<gst::Pad>, gst::PadProbeId)>,
}

impl Drain {
    /// Asks the sinks, each when it has come to what was pushed until now.
    pub(super) fn push(&mut self, source: &gst::Pad) {
        self.sinks.retain(|(pad, _)| pad.upgrade().is_some());
        for pad in sinks(source) {
            if self.sinks.iter().any(|(known, _)| *known == pad) {
                continue;
            }
            let probe = pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
                match &info.data {
                    Some(gst::PadProbeData::Event(event)) if event.has_name(NAME) => {
                        ask(pad);
                        // And not Drop: as in `eventfilter.rs`.
                        gst::PadProbeReturn::Handled
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
            if let Some(probe) = probe {
                self.sinks.push((pad.downgrade(), probe));
            }
        }
        let name = gst::Structure::new_empty(NAME);
        let _ = source.push_event(gst::event::CustomDownstream::new(name));
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        for (pad, probe) in self.sinks.drain(..) {
            if let Some(pad) = pad.upgrade() {
                pad.remove_probe(probe);
            }
        }
    }
}

/// Has a sink let go of what it keeps; an `appsink` keeps what is the application's.
fn ask(pad: &gst::Pad) {
    let parent = pad.parent_element();
    if !parent.is_some_and(|sink| is_appsink(&sink)) {
        // Nothing follows from the answer: who can let go of buffers has done so.
        let _ = pad.query(&mut gst::query::Drain::new());
    }
}

fn is_appsink(element: &gst::Element) -> bool {
    glib::Type::from_name("GstAppSink").is_some_and(|appsink| element.type_().is_a(appsink))
}

/// The pads of all sinks that what is pushed comes to.
fn sinks(source: &gst::Pad) -> Vec<gst::Pad> {
    let (mut sinks, mut seen) = (Vec::new(), vec![source.clone()]);
    let mut next = 0;
    while let Some(source) = seen.get(next).filter(|_| next < MAX_PADS) {
        next += 1;
        let Some(pad) = source.peer() else { continue };
        let is_sink = |element: gst::Element| element.is::<gst_base::BaseSink>();
        if pad.parent_element().is_some_and(is_sink) {
            sinks.push(pad);
            continue;
        }
        // Where pads come and go meanwhile, those that were found.
        let links = bindings::internal_links(&pad).into_iter().flatten();
        for source in links.map_while(Result::ok) {
            if !seen.contains(&source) {
                seen.push(source);
            }
        }
    }
    sinks
}
