//! Queues the events of the producer, and pushes them before the item that follows them.

use gst_base::BaseSrc;
use xmem_core::{Error, EventKind, Result, StreamEvent, Subscriber};

use super::super::downstream::{ElementUpdate, QueuedEvent, running_time};
use super::super::eventfilter::EventFilter;
use super::super::received::Received;
use super::{Current, Receiver};
use crate::caps::Format;
use crate::events::{self, DecodedEvent};
use crate::log::CAT;
use crate::values::{DecodeError, Told};

impl Receiver {
    /// Queues an event until it is pushed in its place in the stream.
    pub(super) fn take_in(&mut self, event: &StreamEvent, element: &BaseSrc) -> Result<()> {
        if event.kind() == EventKind::Format {
            return self.take_in_caps(event.content());
        }
        if event.content().is_empty() {
            // A sticky event was taken back: this matters only to clients that join later.
            return Ok(());
        }
        let offset = self.timekeeper.offset(element);
        let ahead = self.subscriber.as_ref().map_or(0, Subscriber::clock_offset);
        let content = Told::new(event.content(), self.names);
        match events::decode(content, offset, ahead) {
            Ok(Some(said)) => {
                let size = event.content().len();
                if let DecodedEvent::Event(event) = &said
                    && let Err(why) = self.lasting.add(event, size)
                {
                    if why.is_first {
                        gst::element_warning!(
                            element,
                            gst::ResourceError::NoSpaceLeft,
                            ("Dropped an event of the producer: {why}. Further events are dropped \
                              without a message")
                        );
                    }
                    gst::info!(CAT, obj = element, "Dropped: {event:?}");
                    return Ok(());
                }
                self.downstream.hold(QueuedEvent::Decoded(said), size);
            }
            Ok(None) | Err(DecodeError::Unsupported(_)) => {
                gst::debug!(CAT, "Ignored an event of an unknown kind");
            }
            Err(DecodeError::Invalid(_)) => {
                let what = "an event that cannot be decoded";
                return Err(Error::Protocol(what.into()));
            }
        }
        Ok(())
    }

    fn take_in_caps(&mut self, bytes: &[u8]) -> Result<()> {
        let is_same = |format: &Current| *format.bytes == *bytes;
        if self.format.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let (caps, format) = Format::from_bytes(bytes, self.names).map_err(Error::Protocol)?;
        self.headers.set_caps(&caps, &format.headers);
        self.format = Some(Current {
            bytes: bytes.into(),
            format,
        });
        if self.caps.as_ref() == Some(&caps) {
            // Only parts of the format that downstream does not see have changed.
            return Ok(());
        }
        self.caps = Some(caps.clone());
        self.downstream.hold(QueuedEvent::Caps(caps), bytes.len());
        Ok(())
    }

    /// Pushes the events that come before an item. Returns the caps, if they have changed.
    ///
    /// # Errors
    /// Downstream refuses the caps.
    pub(in crate::xmemsrc) fn push_events(
        &mut self,
        element: &BaseSrc,
        filter: &EventFilter,
        received: &Received,
        notice: impl FnMut(ElementUpdate),
    ) -> std::result::Result<Option<gst::Caps>, glib::BoolError> {
        let offset = self.timekeeper.offset(element);
        if self.timekeeper.has_restarted() {
            self.downstream.restart_clock(running_time(offset));
        }
        let received = (received, self.is_newest());
        self.downstream
            .push(element, filter, received, offset, notice)
    }
}
