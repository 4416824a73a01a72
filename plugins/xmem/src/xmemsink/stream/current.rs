//! What applies to the following buffers: the stream, the caps with the headers that were found in
//! the stream, and the roles of frames.

use xmem_core::{Publisher, Result};
use xmem_media::VideoLayout;

use super::super::headers::Headers;
use super::super::roles::{Roles, Shown};
use super::crossing::{Crossing, record};
use super::device::Gpu;
use crate::caps::{self, Format};
use crate::memory::kind::CapsMemory;
use crate::metas;
use crate::timestamps::Times;

/// Used by the streaming thread.
#[derive(Default)]
pub(in crate::xmemsink) struct Current {
    /// The id and the group of the stream.
    id: Option<StreamId>,
    format: Option<Format>,
    /// For frames in CUDA memory.
    pub(super) gpu: Option<Gpu>,
    roles: Roles,
    /// The headers that are looked for in the stream.
    headers: Option<Headers>,
}

/// The id of a stream, and its group if it has one.
type StreamId = (String, Option<gst::GroupId>);

impl Current {
    /// A stream begins. If an element has only repeated the stream-start, it is the same stream.
    pub(super) fn begin(&mut self, event: &gst::event::StreamStart) {
        let id = (event.stream_id().to_owned(), event.group_id());
        let before = self.id.replace(id);
        if before.is_some() && before != self.id {
            self.restart();
        }
    }

    /// A custom event: it may announce that the next picture is a key frame.
    pub(super) fn announce(&mut self, event: &gst::EventRef) {
        if gst_video::DownstreamForceKeyUnitEvent::parse(event).is_ok() {
            self.roles.announce();
        }
    }

    /// Forgets what was found in the stream: it does not apply to the next one.
    pub(in crate::xmemsink) fn restart(&mut self) {
        self.roles.restart();
        if let Some(headers) = &mut self.headers {
            headers.restart();
        }
    }

    /// Sets the caps and the format of the following buffers.
    pub(super) fn set_caps(
        &mut self,
        caps: &gst::CapsRef,
        bytes: &[u8],
        format: Format,
        gpu: Option<Gpu>,
        publisher: &Publisher,
    ) -> Result<()> {
        self.gpu = gpu;
        let before = self.format.as_ref();
        let is_other = before.is_none_or(|before| before.media_type != format.media_type);
        self.roles.set_caps(caps, is_other);
        let before = std::mem::replace(&mut self.headers, Headers::of(caps));
        let with_headers = self.headers.as_mut().zip(before).map(|(headers, before)| {
            headers.follow(before);
            headers.in_caps(caps)
        });
        match with_headers.and_then(|caps| caps::for_clients(&caps).ok()) {
            Some((bytes, format)) => self.say_caps(&bytes, format, publisher),
            None => self.say_caps(bytes, format, publisher),
        }
    }

    /// Looks for headers in a buffer. If the headers have changed, sends caps that contain them.
    pub(super) fn take_in_headers(
        &mut self,
        buffer: &gst::BufferRef,
        caps: impl FnOnce() -> Option<gst::Caps>,
        publisher: &Publisher,
    ) -> Result<()> {
        let Some(headers) = &mut self.headers else {
            return Ok(());
        };
        if !headers.are_looked_for() || !headers.take_in(buffer) {
            return Ok(());
        }
        let with_headers = caps().map(|caps| headers.in_caps(&caps));
        match with_headers.and_then(|caps| caps::for_clients(&caps).ok()) {
            Some((bytes, format)) => self.say_caps(&bytes, format, publisher),
            None => Ok(()),
        }
    }

    fn say_caps(&mut self, bytes: &[u8], format: Format, publisher: &Publisher) -> Result<()> {
        publisher.set_format(bytes)?;
        // If no frame can be copied into a slot, clients that refuse memory without seals are
        // refused.
        publisher.set_unsealed_only(!format.memory.can_be_copied());
        self.format = Some(format);
        Ok(())
    }

    /// Checks that a buffer matches its caps.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(in crate::xmemsink) fn check(
        &self,
        buffer: &gst::BufferRef,
    ) -> std::result::Result<(), String> {
        let format = self.format.as_ref();
        format.map_or(Ok(()), |format| format.check(buffer))
    }

    /// Returns the size of all frames, if they have one size.
    pub(super) fn frame_size(&self) -> Option<usize> {
        let on_device = self.gpu.as_ref().map(Gpu::size);
        on_device.or_else(|| self.format.as_ref()?.frame_size())
    }

    /// Returns whether some buffers depend on others.
    pub(super) fn has_deltas(&self) -> bool {
        self.roles.has_deltas()
    }

    /// Sets the state after a buffer was published.
    pub(super) fn advance(&mut self, shown: Shown) {
        self.roles.advance(shown);
    }

    /// Returns all that is published of a buffer beside its bytes. Metas that every source would
    /// refuse are left out. `placed` says how a picture in the memory of a device lies in the frame, and
    /// the bytes of that.
    pub(super) fn crossing<'a>(
        &'a self,
        buffer: &gst::BufferRef,
        times: Times,
        placed: Option<(VideoLayout, usize)>,
        extra: &'a mut Vec<u8>,
    ) -> Crossing<'a> {
        let format = self.format.as_ref();
        let info = format.and_then(|format| format.video.as_ref());
        let memory = format.map(|format| format.memory);
        let can_be_copied = memory.is_none_or(CapsMemory::can_be_copied);
        let written = match info.zip(placed) {
            Some((info, (layout, size))) => {
                metas::serialize_placed(buffer, info, layout, size, extra)
            }
            None => metas::serialize(buffer, info, can_be_copied, extra),
        };
        let memories = format.and_then(|format| format.memories_to_tell(buffer));
        if let Some(sizes) = memories {
            metas::write_memories(extra, &sizes);
        }
        let mut record = record(buffer, &written, format, times);
        let (role, shown) = self.roles.judge(buffer);
        record.set_role(role);
        Crossing {
            format,
            record,
            shown,
            extra,
            written,
        }
    }
}
