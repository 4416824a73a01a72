//! Sends upstream events to the producer.

use gst::subclass::prelude::*;
use xmem_core::UpstreamSender;

use super::XmemSrc;
use crate::events::upstream::{self, UpstreamEvents};
use crate::log::CAT;
use crate::timestamps::Timekeeper;

impl XmemSrc {
    /// Returns how many nanoseconds the `CLOCK_MONOTONIC` of this process is ahead of the
    /// producer's.
    pub(super) fn clock_offset(&self) -> i64 {
        let state = self.state();
        state
            .upstream
            .as_ref()
            .map_or(0, UpstreamSender::clock_offset)
    }

    /// Sends an upstream event to the producer. Returns false if the producer does not accept
    /// events of this type.
    pub(super) fn send_upstream(&self, event: &gst::EventRef) -> bool {
        let Some(which) = upstream::which(event) else {
            return false;
        };
        let to_producer = {
            let state = self.state();
            let accepted = state.accepts.contains(which);
            state.upstream.clone().filter(|_| accepted)
        };
        let Some(to_producer) = to_producer else {
            return false;
        };
        let ahead = to_producer.clock_offset();
        let offset = Timekeeper::default().offset(&*self.obj());
        let offset = offset.map(|offset| offset.on_clock_ahead(-ahead));
        let sent = upstream::encode(event, offset).map(|bytes| to_producer.send(&bytes));
        gst::debug!(
            CAT,
            imp = self,
            "Sent an event to the producer ({sent:?}): {event:?}"
        );
        matches!(sent, Some(Ok(true)))
    }

    /// Requests a key frame from the producer. Returns false if the request should be repeated,
    /// because the socket was full.
    pub(super) fn request_key_unit(&self, all_headers: bool) -> bool {
        if !self
            .state()
            .accepts
            .contains(UpstreamEvents::FORCE_KEY_UNIT)
        {
            return true;
        }
        let event = gst_video::UpstreamForceKeyUnitEvent::builder();
        self.send_upstream(&event.all_headers(all_headers).build())
    }
}
