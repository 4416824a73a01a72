//! Returns the memory of frames to the producer: sinks downstream copy what they keep.
//!
//! A DRAIN query from here could block without limit. A queue answers it only after everything
//! before it, `splitmuxsink` lets nothing out of its queue before more has arrived, and `appsink`
//! waits until the application has taken everything, even while it is stopping. So this module
//! sends an event downstream, which does not wait. A probe at each sink sees the event and sends
//! the query to that sink, on the thread that brings the sink its buffers.

use gst::prelude::*;

use crate::bindings;

/// The name of the event. The probe consumes it, so no sink receives it.
const NAME: &str = "xmem-drain";
/// The maximum number of pads that are examined on the way to the sinks.
const MAX_PADS: usize = 4096;

/// The sinks that have a probe for the event.
#[derive(Default)]
pub(super) struct Drain {
    sinks: Vec<(glib::WeakRef<gst::Pad>, gst::PadProbeId)>,
}

impl Drain {
    /// Asks each sink once it has received what was pushed until now.
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
                        // Not Drop, for the reason in `eventfilter.rs`.
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

/// Makes a sink release the buffers that it keeps. An `appsink` is not asked, because its buffers
/// are the application's.
fn ask(pad: &gst::Pad) {
    let parent = pad.parent_element();
    if !parent.is_some_and(|sink| is_appsink(&sink)) {
        // The answer is ignored: a sink that can release buffers has done so.
        let _ = pad.query(&mut gst::query::Drain::new());
    }
}

fn is_appsink(element: &gst::Element) -> bool {
    glib::Type::from_name("GstAppSink").is_some_and(|appsink| element.type_().is_a(appsink))
}

/// Returns the pads of all sinks that receive what is pushed here.
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
        // If the iterator must be resynchronised because pads change, use the pads found so far.
        let links = bindings::internal_links(&pad).into_iter().flatten();
        for source in links.map_while(Result::ok) {
            if !seen.contains(&source) {
                seen.push(source);
            }
        }
    }
    sinks
}
