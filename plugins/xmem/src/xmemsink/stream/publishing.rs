//! Publishes a buffer, with all that crosses with it.

use gst::prelude::*;
use gst_base::prelude::*;
use xmem_core::{Cancellation, Result, Role};

use super::Stream;
use super::counters::counted;
use super::current::Current;
use super::device::Source;
use super::on_device::Way;
use super::publication::Publication;
use super::reporter::Outbox;
use super::streaming::{Locked, Streaming};
use crate::memory::kind::CapsMemory;
use crate::timestamps::{LAST_TIME, Times};

impl Stream {
    /// Publishes a buffer: without a copy if its memory is a slot or can be imported, otherwise as
    /// a copy.
    pub(in crate::xmemsink) fn publish(
        &self,
        locked: &mut Locked<'_>,
        buffer: &gst::Buffer,
        times: Times,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        let Locked { streaming, outbox } = locked;
        let Streaming {
            current,
            importer,
            extra,
            ..
        } = &mut **streaming;
        warn_of_times(times, outbox);
        let caps = || self.reporter.sink()?.sink_pad().current_caps();
        current.take_in_headers(buffer, caps, &self.publisher)?;
        // A group would hold many buffers of upstream's pool, and copying frames of groups costs
        // little.
        let imports = !(self.keeps_groups && current.has_deltas());
        let mut importer = importer.as_mut().filter(|_| imports);
        let mut picture = self.examine(current, buffer)?;
        let published = loop {
            let gpu = current.gpu.as_ref();
            let picture_of = gpu.zip(picture.as_ref());
            let placed = picture_of.map(|(gpu, (source, way))| way.placed(gpu, source));
            let crossing = current.crossing(buffer, times, placed, extra);
            let publication = Publication {
                publisher: &self.publisher,
                counters: &self.counters,
                buffer,
                crossing: &crossing,
                cancellation,
            };
            let left_behind = &crossing.written.left_behind;
            let refused = left_behind.len() as u64;
            let importer = importer.as_deref_mut();
            // `None` if it has to be copied instead.
            let published = counted(&self.counters.refused_metas, refused, || match picture_of {
                None => publication.run(importer, outbox).map_err(Some),
                Some((gpu, (source, Way::Shared))) => {
                    match publication.share(gpu, source, importer, outbox) {
                        Some(published) => published.map_err(Some),
                        None => Err(None),
                    }
                }
                Some((gpu, (source, Way::Copied))) => {
                    publication.copy_on_device(gpu, source).map_err(Some)
                }
            });
            match published {
                Ok(()) => {
                    if crossing.record.role() == Role::SyncPoint {
                        self.forwarder.key_units.answer(xmem_core::monotonic_time);
                    }
                    for left in left_behind {
                        outbox.report_left_behind(left);
                    }
                    let shown = crossing.shown;
                    current.advance(shown);
                    break Ok(());
                }
                Err(Some(error)) => break Err(error),
                Err(None) => {
                    if let Some((_, way)) = &mut picture {
                        *way = Way::Copied;
                    }
                    prepare(current, picture.as_ref())?;
                }
            }
        };
        streaming.shrink();
        published
    }

    /// Looks at a picture in the memory of a device, and decides how it is published. `None` for frames in
    /// other memory. If the stream moves to another device with this buffer, so do the slots.
    fn examine<'a>(
        &self,
        current: &mut Current,
        buffer: &'a gst::BufferRef,
    ) -> Result<Option<(Source<'a>, Way)>> {
        let Some(gpu) = &mut current.gpu else {
            return Ok(None);
        };
        let (source, is_other) = gpu.examine(buffer)?;
        gpu.settle();
        let way = Way::of(gpu, &source);
        if is_other {
            self.set_memory(CapsMemory::Cuda, Some(gpu))?;
        }
        let picture = Some((source, way));
        prepare(current, picture.as_ref())?;
        Ok(picture)
    }
}

/// Finds out what has to be copied of a picture, if it is copied.
fn prepare(current: &mut Current, picture: Option<&(Source<'_>, Way)>) -> Result<()> {
    match current.gpu.as_mut().zip(picture) {
        Some((gpu, (source, Way::Copied))) => gpu.prepare(source),
        _ => Ok(()),
    }
}

fn warn_of_times(times: Times, outbox: &mut Outbox<'_>) {
    if !times.are_whole {
        outbox.warn_once(("time", None), || {
            let last = gst::ClockTime::from_nseconds(LAST_TIME);
            format!(
                "Clients cannot use a time of a buffer that is above {last}: the frame was \
                 published without it"
            )
        });
    }
}
