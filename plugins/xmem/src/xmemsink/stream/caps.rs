//! What applies to the following buffers: the stream, the caps with the headers that were found in
//! the stream, and the roles of frames.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst_base::prelude::*;
use xmem_core::Result;

use super::super::headers::Headers;
use super::{Stream, lock};
use crate::caps::{self, Format};

impl Stream {
    /// A stream begins. If an element has only repeated the stream-start, it is the same stream.
    pub(in crate::xmemsink) fn begin(&self, event: &gst::event::StreamStart) {
        let id = (event.stream_id().to_owned(), event.group_id());
        let before = lock(&self.id).replace(id.clone());
        if before.is_some_and(|before| before != id) {
            self.restart();
        }
    }

    /// A custom event: it may announce that the next picture is a key frame.
    pub(in crate::xmemsink) fn announce(&self, event: &gst::EventRef) {
        if gst_video::DownstreamForceKeyUnitEvent::parse(event).is_ok() {
            self.roles.announce();
        }
    }

    /// Forgets what was found in the stream: it does not apply to the next one.
    pub(in crate::xmemsink) fn restart(&self) {
        self.roles.restart();
        if let Some(headers) = lock(&self.headers).as_mut() {
            headers.restart();
            self.looks_for_headers.store(true, Ordering::Relaxed);
        }
    }

    /// Sets the caps and the format of the following buffers.
    pub(in crate::xmemsink) fn set_caps(
        &self,
        caps: &gst::Caps,
        bytes: &[u8],
        format: Format,
    ) -> Result<()> {
        let is_other = match &*lock(&self.format) {
            Some(before) => before.media_type != format.media_type,
            None => true,
        };
        self.roles.set_caps(caps, is_other);
        let with_headers = {
            let mut headers = lock(&self.headers);
            let before = std::mem::replace(&mut *headers, Headers::of(caps));
            self.looks_for_headers
                .store(headers.is_some(), Ordering::Relaxed);
            headers.as_mut().zip(before).map(|(headers, before)| {
                headers.follow(before);
                headers.in_caps(caps)
            })
        };
        match with_headers.and_then(|caps| caps::for_clients(&caps).ok()) {
            Some((bytes, format)) => self.say_caps(&bytes, format),
            None => self.say_caps(bytes, format),
        }
    }

    /// Looks for headers in a buffer. If the headers have changed, sends caps that contain them.
    pub(super) fn take_in_headers(&self, buffer: &gst::BufferRef) -> Result<()> {
        let caps = {
            let mut headers = lock(&self.headers);
            let Some(headers) = headers.as_mut() else {
                return Ok(());
            };
            let is_told = headers.take_in(buffer);
            self.looks_for_headers
                .store(headers.are_looked_for(), Ordering::Relaxed);
            if !is_told {
                return Ok(());
            }
            let caps = self.sink.upgrade();
            let caps = caps.and_then(|sink| sink.sink_pad().current_caps());
            caps.map(|caps| headers.in_caps(&caps))
        };
        match caps.and_then(|caps| caps::for_clients(&caps).ok()) {
            Some((bytes, format)) => self.say_caps(&bytes, format),
            None => Ok(()),
        }
    }

    fn say_caps(&self, bytes: &[u8], format: Format) -> Result<()> {
        self.publisher.set_format(bytes)?;
        // If no frame can be copied into a slot, clients that refuse memory without seals are
        // refused.
        self.publisher
            .set_unsealed_only(!format.memory.can_be_copied());
        *lock(&self.format) = Some(Arc::new(format));
        Ok(())
    }
}
