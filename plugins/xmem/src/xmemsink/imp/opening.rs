//! Opens the channel.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, Channel, Error, Publisher};
use xmem_media::event::EventContent;

use super::XmemSink;
use crate::errors;
use crate::log::CAT;
use crate::xmemsink::settings::Settings;
use crate::xmemsink::stream::Stream;

/// The minimum number of slots: two for the pool, one for the newest frame.
const MIN_BUFFERS: u32 = 3;

impl XmemSink {
    /// Opens the channel, and begins a run.
    ///
    /// # Errors
    /// A message for the bus.
    pub(super) fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings();
        let channel = settings.channel.channel()?;
        if (1..MIN_BUFFERS).contains(&settings.max_buffers) {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "max-buffers is {}, but must be at least {MIN_BUFFERS}, and 1 more for each lease \
                     of each client; 0 allows as many as needed",
                    settings.max_buffers
                )
            ));
        }
        let canceller = Canceller::new();
        let (stream, mut outbox);
        {
            // A client may connect before this returns. A callback that then reads num-clients
            // waits for this lock.
            let mut state = self.state();
            let publisher = self.publisher(channel, &settings, &canceller)?;
            gst::info!(
                CAT,
                imp = self,
                "Listening at {}",
                publisher.socket_path().display()
            );
            let weak = self.obj().downgrade();
            let on_failure = move |error: &Error| {
                if let Some(obj) = weak.upgrade() {
                    let message = errors::message(error, gst::ResourceError::Write);
                    obj.imp().post_error_message(message);
                }
            };
            let obj = self.obj();
            let sink = obj.upcast_ref();
            stream = Arc::new(Stream::new(
                sink, publisher, canceller, &settings, on_failure,
            ));
            outbox = stream.outbox();
            let accepts = EventContent::Accepts(settings.upstream_events.bits());
            stream.announcer.say_own(accepts, &mut outbox);
            let waits = EventContent::Waits(settings.waits());
            stream.announcer.say_own(waits, &mut outbox);
            state.stream = Some(stream.clone());
        }
        drop(outbox);
        Ok(())
    }

    fn publisher(
        &self,
        channel: Channel,
        settings: &Settings,
        canceller: &Canceller,
    ) -> Result<Publisher, gst::ErrorMessage> {
        let weak = self.obj().downgrade();
        Publisher::builder(channel)
            .producer_name(self.obj().name())
            .perms(settings.perms)
            .max_clients(settings.max_clients)
            .max_slots((settings.max_buffers > 0).then_some(settings.max_buffers))
            .max_bytes((settings.max_bytes > 0).then_some(settings.max_bytes))
            .keep_group(settings.group_time)
            .overflow(settings.overflow())
            .canceller(canceller.clone())
            .on_event(move |event| {
                if let Some(obj) = weak.upgrade() {
                    obj.imp().on_event(event);
                }
            })
            .open()
            .map_err(|error| errors::message(&error, gst::ResourceError::OpenReadWrite))
    }
}
