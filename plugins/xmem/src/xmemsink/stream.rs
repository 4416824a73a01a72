//! One run of the sink, from start to stop: the publisher, and the publication of buffers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_base::BaseSink;
use xmem_core::{
    BufferMeta, Cancellation, Canceller, Error, EventKind, Publisher, Result, Role, Unpublished,
};
use xmem_media::event::{EventContent, Extent};

use super::headers::Headers;
use super::roles::{Roles, Shown};
use crate::caps::Format;
use crate::errors;
use crate::events;
use crate::memory::bufferpool::{OnFailure, XmemBufferPool};
use crate::memory::import::{Importable, Importer, Refused};
use crate::memory::kind::{CapsMemory, MemoryKind, classify};
use crate::memory::slot::XmemAllocator;
use crate::metas::{self, LeftBehind, UnfitKind, Written};
use crate::timestamps::{LAST_TIME, Times};
use crate::values::{DecodeError, Names, Told};

use super::extent::Asked;
use super::settings::Settings;
use super::still::Still;
use super::upstream::Forwarder;

mod caps;

/// The buffer flags that mean something to another process: all except TAG_MEMORY, which is about
/// memory of this process. The record does not take the four lowest
/// bits, which are those of `GstMiniObject`.
const FLAGS: u32 = !gst::BufferFlags::TAG_MEMORY.bits();

/// How long the sink waits in a drain for clients to receive and release imported frames, whose
/// memory upstream wants back.
const DRAINING: Duration = Duration::from_millis(500);

/// The maximum size in bytes of a buffer for metas that is reused for the next frame.
const MAX_KEPT: usize = 1 << 26;

pub(super) struct Stream {
    sink: glib::WeakRef<BaseSink>,
    pub(super) publisher: Arc<Publisher>,
    /// Ends the waits of the streaming thread.
    pub(super) canceller: Canceller,
    pub(super) still: Arc<Still>,
    pub(super) asked: Arc<Asked>,
    /// Clients were told that frames are shown in PAUSED.
    is_still: AtomicBool,
    allocator: XmemAllocator,
    /// The imports of upstream's memory; `None` if that is always copied.
    importer: Option<Mutex<Importer>>,
    pools: Mutex<Pools>,
    format: Mutex<Option<Arc<Format>>>,
    roles: Roles,
    /// The id and the group of the stream.
    id: Mutex<Option<StreamId>>,
    /// The headers that are looked for in the stream, while `looks_for_headers` is set.
    headers: Mutex<Option<Headers>>,
    looks_for_headers: AtomicBool,
    /// Groups of frames are kept for clients that join.
    keeps_groups: bool,
    /// Called with the reason why upstream gets no slot.
    on_failure: OnFailure,
    /// The buffer for the encoded metas of a frame, reused for every frame.
    extra: Mutex<Vec<u8>>,
    pub(super) counters: Counters,
    pub(super) forwarder: Forwarder,
    /// The latency that clients were told last, in nanoseconds.
    latency: AtomicU64,
    /// The number of frames that were published when upstream began to flush.
    flushed_at: AtomicU64,
    /// The kinds of the sticky events that were sent.
    sticky: Mutex<Vec<EventKind>>,
    /// The metas and events that were not published, and why, of which the application was told.
    refused: Mutex<Vec<(String, Option<UnfitKind>)>>,
}

/// The id of a stream, and its group if it has one.
type StreamId = (String, Option<gst::GroupId>);

/// The pools that upstream has. While upstream flushes, nothing waits in them.
#[derive(Default)]
struct Pools {
    list: Vec<glib::WeakRef<XmemBufferPool>>,
    flushing: bool,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) zero_copy: AtomicU64,
    pub(super) imported: AtomicU64,
    pub(super) copied: AtomicU64,
    pub(super) copied_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// The number of frames that were copied because a client refuses memory that other processes
    /// may write.
    pub(super) unsealed: AtomicU64,
    /// The number of metas that every source would refuse.
    pub(super) refused_metas: AtomicU64,
    /// Whether the application was told of dropped frames: because upstream holds all slots, and
    /// because the system has no resources for another slot.
    told: [AtomicBool; 2],
}

/// Counts what `publish` publishes, and takes the count back if that fails. The counter changes
/// first, because a client can receive the frame before `publish` returns, and a reader of `stats`
/// then has to see it counted.
fn counted<T, E>(
    counter: &AtomicU64,
    count: u64,
    publish: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    counter.fetch_add(count, Ordering::Relaxed);
    publish().inspect_err(|_| {
        counter.fetch_sub(count, Ordering::Relaxed);
    })
}

impl Counters {
    /// Counts a dropped frame. Returns whether it is the first that was dropped for this reason.
    pub(super) fn drop_for(&self, error: &Error) -> bool {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let reason = usize::from(matches!(error, Error::ResourceExhausted { .. }));
        !self.told[reason].swap(true, Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    pub(super) fn new(
        sink: &BaseSink,
        publisher: Publisher,
        canceller: Canceller,
        forwarder: Forwarder,
        settings: &Settings,
        on_failure: impl Fn(&Error) + Send + Sync + 'static,
    ) -> Stream {
        let publisher = Arc::new(publisher);
        Stream {
            sink: sink.downgrade(),
            allocator: XmemAllocator::new(&publisher, &canceller),
            publisher,
            canceller,
            still: Arc::default(),
            asked: Arc::default(),
            is_still: AtomicBool::new(false),
            importer: settings.import_memory.then(Mutex::default),
            pools: Mutex::default(),
            format: Mutex::default(),
            roles: Roles::default(),
            id: Mutex::default(),
            headers: Mutex::default(),
            looks_for_headers: AtomicBool::new(false),
            keeps_groups: settings.group_time > Duration::ZERO,
            on_failure: Arc::new(on_failure),
            extra: Mutex::default(),
            counters: Counters::default(),
            forwarder,
            latency: AtomicU64::new(0),
            flushed_at: AtomicU64::new(0),
            sticky: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Sends an event of the stream to the clients, before the next frame.
    pub(super) fn say_event(&self, event: gst::EventType, said: (EventKind, Vec<u8>)) {
        if event == gst::EventType::StreamStart {
            self.take_back(events::ends_with_stream);
        }
        let read = events::decode(Told::new(&said.1, Names::own()), None, 0);
        if matches!(read, Err(DecodeError::Invalid(_))) {
            let event = event.name();
            self.warn_once((event, None), || {
                format!(
                    "Clients cannot use a {event} event: it has too many parts, or times or rates \
                     that are out of range. The stream continues without it"
                )
            });
            return;
        }
        self.add_sticky(said.0);
        self.say(said);
    }

    /// Notes that a sticky event was sent: it is taken back when the stream ends.
    fn add_sticky(&self, kind: EventKind) {
        let EventKind::Sticky(_) = kind else { return };
        let mut sticky = lock(&self.sticky);
        if !sticky.contains(&kind) {
            sticky.push(kind);
        }
    }

    /// Queries the duration of the stream upstream, and sends it to the clients.
    pub(super) fn ask_extent(self: &Arc<Self>, sink: &BaseSink) {
        let stream = Arc::downgrade(self);
        self.asked.ask(sink, move |extent| {
            let stream = stream.upgrade();
            stream
                .as_ref()
                .inspect(|stream| stream.say_extent(extent))
                .is_some()
        });
    }

    /// Does the same, if a new query is due at a frame with this timestamp.
    pub(super) fn ask_extent_again(
        self: &Arc<Self>,
        sink: &BaseSink,
        stream_pts: Option<Duration>,
    ) {
        if self.asked.is_due(stream_pts) {
            self.ask_extent(sink);
        }
    }

    /// Sends the duration of the stream. Posts no message, so it may be called with a lock held.
    fn say_extent(&self, extent: &Extent) {
        let (kind, content) = events::encode_own(EventContent::Extent(extent.clone()));
        self.add_sticky(kind);
        if let Err(error) = self.publisher.send_event(kind, &content) {
            gst::debug!(
                crate::CAT,
                "Cannot send the duration of the stream: {error}"
            );
        }
    }

    /// Takes back the sticky events for which `is_over` is true: clients that join later do not get
    /// them.
    pub(super) fn take_back(&self, is_over: impl Fn(EventKind) -> bool) {
        let over: Vec<_> = lock(&self.sticky)
            .extract_if(.., |kind| is_over(*kind))
            .collect();
        for kind in over {
            self.say((kind, Vec::new()));
        }
    }

    /// Sends an event to the clients, before the next frame.
    pub(super) fn say(&self, (kind, content): (EventKind, Vec<u8>)) {
        let said = self.publisher.send_event(kind, &content);
        if let Err(error) = said
            && let Some(sink) = self.sink.upgrade()
        {
            let why = errors::text(&error);
            let text = format!("Cannot send an event to the clients: {why}");
            gst::element_warning!(sink, gst::ResourceError::Write, ("{text}"), ["{error:?}"]);
        }
    }

    /// Tells the clients the latency of the frames, if it has changed.
    pub(super) fn tell_latency(&self, latency: gst::ClockTime) {
        let nseconds = latency.nseconds();
        if self.latency.swap(nseconds, Ordering::Relaxed) != nseconds {
            self.say(events::encode_own(EventContent::Latency(nseconds)));
        }
    }

    /// Tells the clients whether the following frames are shown in PAUSED, if that has changed.
    pub(super) fn say_still(&self, is_still: bool) {
        // Relaxed: one thread at a time publishes frames.
        if self.is_still.load(Ordering::Relaxed) != is_still {
            self.is_still.store(is_still, Ordering::Relaxed);
            self.say(events::encode_own(EventContent::Still(is_still)));
        }
    }

    /// Flushes the clients: frames that they have not received yet are void.
    pub(super) fn flush(&self, seqnum: gst::Seqnum) {
        let published = self.publisher.stats().published;
        self.flushed_at.store(published, Ordering::Relaxed);
        self.say(events::encode_flush(seqnum));
    }

    /// Ends a flush of upstream. If a frame was published during the flush, clients flush again, so
    /// that this frame is void, too.
    pub(super) fn finish_flush(&self, seqnum: gst::Seqnum) {
        let published = self.publisher.stats().published;
        if published != self.flushed_at.load(Ordering::Relaxed) {
            self.flush(seqnum);
        }
        self.set_flushing(false);
    }

    /// Gives imported frames back to upstream, which wants to free their memory.
    pub(super) fn drain(&self) {
        if let Some(importer) = &self.importer {
            lock(importer).forget();
        }
        if !self.say_drain() {
            return;
        }
        if let Err(error) = self.publisher.drain(DRAINING) {
            gst::info!(crate::CAT, "Clients still hold memory of upstream: {error}");
        }
    }

    /// Asks the clients to release imported frames: a client's sink copies a frame that it keeps.
    /// Returns whether there are imported frames.
    fn say_drain(&self) -> bool {
        let owes_memory = self.publisher.owes_memory();
        if owes_memory {
            self.say(events::encode_own(EventContent::Drain));
        }
        owes_memory
    }

    /// Sets the pools to flushing: while upstream flushes, it does not wait in them.
    pub(super) fn set_flushing(&self, flushing: bool) {
        let pools: Vec<_> = {
            let mut pools = lock(&self.pools);
            pools.flushing = flushing;
            pools.list.retain(|pool| pool.upgrade().is_some());
            let live = pools.list.iter().filter_map(glib::WeakRef::upgrade);
            live.collect()
        };
        for pool in pools {
            pool.set_sink_flushing(flushing);
        }
    }

    /// Offers slots to upstream, through a pool and an allocator.
    pub(super) fn propose_allocation(
        &self,
        query: &mut gst::query::Allocation,
        max_buffers: u32,
    ) -> std::result::Result<(), gst::LoggableError> {
        let (caps, need_pool) = query.get_owned();
        let format = caps.as_ref().and_then(|caps| Format::from_caps(caps).ok());
        if format
            .as_ref()
            .is_some_and(|format| !format.memory.can_be_copied())
        {
            // Upstream cannot write such frames into slots.
            return Ok(());
        }
        if let (Some(caps), Some(info)) = (&caps, format.and_then(|format| format.video)) {
            let size = u32::try_from(info.size())
                .map_err(|_| gst::loggable_error!(crate::CAT, "Frames of {} bytes", info.size()))?;
            let pool = if need_pool {
                Some(self.new_pool(caps, size)?)
            } else {
                None
            };
            query.add_allocation_pool(pool.as_ref(), size, 2, max_buffers);
        }
        // A query without caps comes from a source of blocks, such as filesrc. An element in
        // between makes frames of the blocks, and only frames need slots.
        if caps.is_some() {
            let params = gst::AllocationParams::default();
            query.add_allocation_param(Some(&self.allocator), params);
        }
        metas::propose(query);
        Ok(())
    }

    fn new_pool(
        &self,
        caps: &gst::Caps,
        size: u32,
    ) -> std::result::Result<XmemBufferPool, gst::LoggableError> {
        let pool = XmemBufferPool::new(&self.publisher, &self.on_failure);
        let mut config = pool.config();
        config.set_params(Some(caps), size, 2, 0);
        pool.set_config(config)
            .map_err(|error| gst::loggable_error!(crate::CAT, "No pool: {error}"))?;
        let mut pools = lock(&self.pools);
        pool.set_sink_flushing(pools.flushing);
        pools.list.push(pool.downgrade());
        Ok(pool)
    }

    /// Waits until there is a client.
    pub(super) fn wait_for_client(&self, cancellation: &Cancellation<'_>) -> Result<()> {
        if self.publisher.num_clients() > 0 {
            return Ok(());
        }
        self.publisher
            .wait_for_clients_cancellable(1, None, cancellation)
    }

    /// Publishes a buffer: without a copy if its memory is a slot or can be imported, otherwise as
    /// a copy.
    pub(super) fn publish(
        &self,
        buffer: &gst::Buffer,
        times: Times,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        if !times.are_whole {
            self.warn_once(("time", None), || {
                let last = gst::ClockTime::from_nseconds(LAST_TIME);
                format!(
                    "Clients cannot use a time of a buffer that is above {last}: the frame was \
                     published without it"
                )
            });
        }
        if self.looks_for_headers.load(Ordering::Relaxed) {
            self.take_in_headers(buffer)?;
        }
        let mut crossing = self.crossing(buffer, times);
        let refused = crossing.written.left_behind.len() as u64;
        let published = counted(&self.counters.refused_metas, refused, || {
            self.publish_crossing(buffer, &crossing, cancellation)
        });
        if crossing.extra.capacity() > MAX_KEPT {
            crossing.extra = Vec::new();
        }
        *lock(&self.extra) = crossing.extra;
        if published.is_ok() {
            self.roles.advance(crossing.shown);
            if crossing.record.role() == Role::SyncPoint {
                self.forwarder.key_units.answer(xmem_core::monotonic_time);
            }
            let left_behind = crossing.written.left_behind.iter();
            left_behind.for_each(|left| self.tell_refused(left));
        }
        published
    }

    fn publish_crossing(
        &self,
        buffer: &gst::Buffer,
        crossing: &Crossing,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        if crossing.written.rows.is_some() {
            return self.copy(buffer, crossing, cancellation);
        }
        let first = (buffer.n_memory() > 0).then(|| buffer.peek_memory(0));
        let kind = first.map_or(MemoryKind::Other, classify);
        if buffer.n_memory() == 1
            && let (Some(memory), Some(slot)) = (first, kind.slot())
        {
            let (offset, len) = (memory.offset(), memory.size());
            let published = slot.publish(|mut frame| {
                if !self.publisher.owns(&frame) {
                    return Err((Box::new(frame), None));
                }
                *frame.meta_mut() = crossing.record;
                if let Err(error) = frame.set_extra(&crossing.extra) {
                    return Err((Box::new(frame), Some(error)));
                }
                counted(&self.counters.zero_copy, 1, || {
                    frame.publish_range(offset, len)
                })
                .map_err(|Unpublished { frame, reason }| (frame, Some(reason)))
            });
            match published {
                Some(Ok(())) => return Ok(()),
                Some(Err(Some(error))) => return Err(error),
                // Another sink's slot, or a slot that was published before.
                Some(Err(None)) | None => {}
            }
        }
        let refused = match &self.importer {
            // A group would hold many buffers of upstream's pool, and copying frames of groups
            // costs little.
            Some(_) if self.keeps_groups && self.roles.has_deltas() => Refused::Unfit,
            Some(importer) => {
                let imported = lock(importer).import(buffer, kind, &self.publisher);
                match imported.map(|importable| self.publish_imported(importable, crossing)) {
                    // The publisher has the maximum number of imported frames.
                    Ok(Err(Error::Exhausted { .. })) => Refused::TooManyHeld,
                    Ok(Err(Error::UnsealedMemory { clients })) => {
                        self.tell_unsealed(clients);
                        Refused::Unsealed
                    }
                    Ok(published) => return published,
                    Err(refused) => refused,
                }
            }
            None => Refused::Unfit,
        };
        let memory = crossing.format.as_ref().map(|format| format.memory);
        if let Some(memory) = memory.filter(|memory| !memory.can_be_copied()) {
            return self.leave_out(refused, memory);
        }
        self.copy(buffer, crossing, cancellation)
    }

    fn publish_imported(&self, importable: Importable, crossing: &Crossing) -> Result<()> {
        let Importable {
            memory,
            range,
            hold,
        } = importable;
        let mut frame = self.publisher.import_frame(&memory, range, hold)?;
        *frame.meta_mut() = crossing.record;
        frame.set_extra(&crossing.extra)?;
        counted(&self.counters.imported, 1, || frame.publish())?;
        Ok(())
    }

    /// Counts a frame that is copied because clients refuse memory that other processes may write,
    /// and tells the application of the first.
    fn tell_unsealed(&self, clients: u32) {
        let first = self.counters.unsealed.fetch_add(1, Ordering::Relaxed) == 0;
        if first && let Some(sink) = self.sink.upgrade() {
            gst::element_info!(
                sink,
                gst::ResourceError::Settings,
                ("Upstream's memory is copied, because {clients} clients refuse memory that \
                     other processes may write (dmabufs, memfds without a write seal). If they \
                     trust this producer, set unsealed-memory=always on their xmemsrc")
            );
        }
    }

    /// Drops a buffer that cannot be copied and was not imported, or returns an error if no such
    /// buffer can ever be imported.
    fn leave_out(&self, refused: Refused, memory: CapsMemory) -> Result<()> {
        match refused {
            // `Unsealed` is temporary: clients that refuse this memory are evicted, see `say_caps`.
            Refused::TooManyHeld | Refused::Unsealed => {
                gst::debug!(crate::CAT, "Dropped a frame: {refused:?}");
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Refused::Unfit => Err(Error::BadMemory(format!(
                "the caps say {}, but the memory of this buffer cannot be imported as one: \
                 convert to system memory first (vapostproc, glcolorconvert ! gldownload, ...), \
                 and check that import-memory is true",
                memory.feature()
            ))),
        }
    }

    /// Publishes a copy: either the bytes of all memories, one after another, as the offsets of the
    /// video meta count them; or the rows of a picture, in the layout of the caps.
    fn copy(
        &self,
        buffer: &gst::Buffer,
        crossing: &Crossing,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        let size = crossing.written.size;
        let format = crossing.format.as_ref();
        let all_alike = format.is_some_and(|format| format.frame_size().is_some());
        if all_alike && Some(size) > self.publisher.slot_size() {
            // All frames of raw video have one size, and so do those of tensors: make slots of this
            // size.
            self.publisher.configure(size, 2)?;
        }
        let mut frame = self
            .publisher
            .acquire_timeout(size, Some(Duration::ZERO), cancellation)?;
        let unreadable =
            |_| Error::BadMemory("the memory of a buffer cannot be mapped for reading".into());
        if let Some(rows) = &crossing.written.rows {
            let map = buffer.map_readable().map_err(unreadable)?;
            for &xmem_media::video::RowCopy { from, to, length } in rows {
                if let Some(row) = map.get(from..from + length) {
                    frame.payload().write(to, row);
                }
            }
        } else {
            let mut at = 0;
            for memory in buffer.iter_memories() {
                let map = memory.map_readable().map_err(unreadable)?;
                frame.payload().write(at, &map);
                at += map.len();
            }
        }
        *frame.meta_mut() = crossing.record;
        frame.set_extra(&crossing.extra)?;
        self.counters
            .copied_bytes
            .fetch_add(size as u64, Ordering::Relaxed);
        counted(&self.counters.copied, 1, || frame.publish())?;
        Ok(())
    }

    /// Checks that a buffer matches its caps.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn check(&self, buffer: &gst::BufferRef) -> std::result::Result<(), String> {
        match &*lock(&self.format) {
            Some(format) => format.check(buffer),
            None => Ok(()),
        }
    }

    /// Returns whether a frame for which there is no slot is as large as all later ones: no slot
    /// has that size, so all later frames would be dropped, too.
    pub(super) fn is_stuck(&self) -> bool {
        let format = lock(&self.format);
        let size = format.as_ref().and_then(|format| format.frame_size());
        size.is_some() && size > self.publisher.slot_size()
    }

    /// Returns all that is published of a buffer beside its bytes. Metas that every source would
    /// refuse are left out.
    fn crossing(&self, buffer: &gst::BufferRef, times: Times) -> Crossing {
        let format = lock(&self.format).clone();
        let info = format.as_ref().and_then(|format| format.video.as_ref());
        let mut extra = std::mem::take(&mut *lock(&self.extra));
        let memory = format.as_ref().map(|format| format.memory);
        let can_be_copied = memory.is_none_or(CapsMemory::can_be_copied);
        let written = metas::serialize(buffer, info, can_be_copied, &mut extra);
        let memories = format.as_ref().and_then(|one| one.memories_to_tell(buffer));
        if let Some(sizes) = memories {
            metas::write_memories(&mut extra, &sizes);
        }
        let mut record = record(buffer, &written, format.as_deref(), times);
        let (role, shown) = self.roles.judge(buffer);
        record.set_role(role);
        Crossing {
            record,
            shown,
            format,
            extra,
            written,
        }
    }

    /// Tells the application of a meta that was left out.
    fn tell_refused(&self, left: &LeftBehind) {
        let LeftBehind {
            meta,
            why,
            is_copied,
        } = left;
        let done = if *is_copied {
            "The picture was copied to the layout of its caps"
        } else {
            "The frame was published without it"
        };
        self.warn_once((meta, Some(why.kind())), || {
            format!(
                "Clients cannot use the {meta} of a buffer: {why}. {done}; further ones are only \
                 counted (refused-metas in stats)"
            )
        });
    }

    /// Tells the application that a meta or an event of the name `what` is not published. Does so
    /// once for each name and reason.
    fn warn_once(&self, (what, why): (&str, Option<UnfitKind>), text: impl FnOnce() -> String) {
        {
            let mut told = lock(&self.refused);
            if told.iter().any(|told| told.0 == what && told.1 == why) {
                return;
            }
            told.push((what.to_owned(), why));
        }
        if let Some(sink) = self.sink.upgrade() {
            gst::element_warning!(sink, gst::StreamError::Format, ("{}", text()));
        }
    }

    /// Ends the stream: clients get the published frames, then EOS.
    pub(super) fn end(&self) {
        // Before the end, because clients read no events after it, and this sink stops soon.
        self.say_drain();
        self.publisher.end_stream();
    }
}

/// All that is published of a buffer beside its bytes.
struct Crossing {
    format: Option<Arc<Format>>,
    record: BufferMeta,
    /// What the buffer has shown of the roles of the stream's frames.
    shown: Shown,
    /// The encoded metas.
    extra: Vec<u8>,
    written: Written,
}

/// Returns the record of a buffer.
fn record(
    buffer: &gst::BufferRef,
    written: &Written,
    format: Option<&Format>,
    times: Times,
) -> BufferMeta {
    let size = written.size;
    let mut meta = match format {
        Some(format) => {
            let usual = || {
                let info = format.video.as_ref()?;
                let (offset, stride) = (info.offset().first()?, info.stride().first()?);
                Some((*offset, *stride))
            };
            let plane = written
                .layout
                .map(|at| (at.offset[0] as usize, at.stride[0]));
            let plane = plane.or_else(usual);
            format.record(size, plane)
        }
        None => BufferMeta::bytes(size),
    };
    meta.set_pts(times.pts);
    meta.set_dts(times.dts);
    meta.set_stream_pts(times.stream_pts);
    meta.set_stream_dts(times.stream_dts);
    meta.set_duration(times.duration);
    // GStreamer's number for none is the record's, too.
    meta.set_offset(Some(buffer.offset()));
    meta.set_offset_end(Some(buffer.offset_end()));
    meta.set_flags(buffer.flags().bits() & FLAGS);
    meta
}
