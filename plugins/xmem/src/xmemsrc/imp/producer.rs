//! What the producer tells the element, and changes of the connection.

use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::XmemSrc;
use crate::events::upstream::UpstreamEvents;
use crate::log::CAT;
use crate::xmemsrc::downstream::ElementUpdate;
use crate::xmemsrc::receiver::Change;

impl XmemSrc {
    /// Handles an update of the producer that concerns the element.
    pub(super) fn take_notice(&self, notice: ElementUpdate) {
        match notice {
            ElementUpdate::Latency(latency) => {
                let before = {
                    let mut state = self.state();
                    let before = std::mem::replace(&mut state.latency, latency);
                    state.latency_changes += u64::from(before != latency);
                    before
                };
                if before != latency {
                    gst::info!(CAT, imp = self, "The producer's latency is {latency}");
                    self.ask_for_latency();
                }
            }
            ElementUpdate::Accepts(accepts) => self.state().accepts = accepts,
            ElementUpdate::Extent(extent) => self.set_extent(extent),
        }
    }

    /// Makes the pipeline calculate its latency again.
    pub(super) fn ask_for_latency(&self) {
        let obj = self.obj();
        let message = gst::message::Latency::builder().src(&*obj).build();
        let _ = obj.post_message(message);
    }

    /// Handles a change of the connection. `is_told` records whether the message that is posted
    /// once was posted.
    pub(super) fn take_change(&self, change: Change, is_told: &AtomicBool) {
        match change {
            Change::Connected(upstream) => {
                let mut state = self.state();
                // Nothing is accepted until this producer sends what it accepts.
                state.accepts = UpstreamEvents::default();
                state.extent = None;
                state.upstream = Some(upstream);
            }
            Change::Starved => {
                // The receiver's own figures follow with the next frame.
                self.state().figures.starved += 1;
                if !is_told.swap(true, Ordering::Relaxed) {
                    self.report_starved();
                }
            }
            Change::Covered => self.ask_for_latency(),
        }
    }
}
