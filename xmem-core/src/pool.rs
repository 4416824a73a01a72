//! Floor 3: the producer's set of slots. Which slot is next, who is in the scan, what to grow.
//!
//! Bookkeeping of one process, behind one lock in `writer.rs`; it does no I/O and never waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::lease::{FrameId, Generation, SlotIndex};
use crate::message::Delivery;
use crate::meta::BufferMeta;
use crate::segment::{LeasePage, MetadataSegment, PayloadSegment, SegmentId};

/// The number of a client; never used twice in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(crate) u32);

impl ClientId {
    /// The number, counted from 1.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a slot's payload is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<PayloadSegment>,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// A number without memory.
    Vacant,
    Free,
    /// In the producer's hands, not published.
    Writing,
    Ready,
    /// Retired while a client held it.
    Parked,
}

#[derive(Debug)]
struct Slot {
    /// As in the shared state word: even while READY, odd otherwise.
    generation: Generation,
    status: Status,
    /// The frame published last.
    frame: Option<FrameId>,
    /// That frame's place in the stream, and its format.
    position: u64,
    format: u32,
    /// The producer still reads or writes it.
    held: bool,
    place: Option<Place>,
    /// Its memory goes when it is free: the slots are larger by now.
    outdated: bool,
    /// The slot that holds this frame's extra bytes, where they are many.
    spill: Option<SlotIndex>,
}

/// A client that is in the scan.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) page: Arc<LeasePage>,
    pub(crate) delivery: Delivery,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// The furthest that its cursor was seen: what it writes is not believed to go back, or ahead
    /// of the stream.
    passed: u64,
    /// It has made the writer wait too long: until it has caught up, nobody waits for it.
    pub(crate) lapsed: bool,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        page: Arc<LeasePage>,
        delivery: Delivery,
        name: String,
        (pid, uid): (u32, u32),
    ) -> Client {
        Client {
            id,
            page,
            delivery,
            name,
            pid,
            uid,
            passed: 0,
            lapsed: false,
        }
    }

    fn refresh(&mut self, head: u64) {
        self.passed = self.passed.max(self.page.page().position().min(head));
    }
}

/// What [`Pool::acquire`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Slot(SlotIndex),
    /// Every slot that could be had is one that a client has yet to receive.
    Blocked,
    /// The producer and the clients hold every slot.
    Short,
}

#[derive(Debug)]
pub(crate) struct Pool {
    metadata: Arc<MetadataSegment>,
    slots: Vec<Slot>,
    free: Vec<SlotIndex>,
    vacant: Vec<SlotIndex>,
    parked: Vec<SlotIndex>,
    /// Published, oldest first.
    ready: VecDeque<SlotIndex>,
    /// The segments in use, in the order of their numbers.
    pub(crate) segments: Vec<Arc<PayloadSegment>>,
    /// Segments that no slot uses any more: to be dropped, which unmaps, off the streaming thread.
    pub(crate) gone: Vec<Arc<PayloadSegment>>,
    next_segment: u32,
    pub(crate) clients: Vec<Client>,
    /// The formats of frames that can still be received, and of those to come.
    pub(crate) formats: Vec<(u32, Arc<str>)>,
    next_format: u32,
    /// Where the stream has ended, if it has.
    pub(crate) eos: Option<u64>,
    head: u64,
    /// Bytes of a new slot; 0 until they are known.
    slot_size: usize,
    /// Slots that the producer itself needs, one to publish included.
    need: u32,
    /// Most slots, 0 for as many as the metadata segment has room for.
    max: u32,
    /// Threads that sleep until a slot comes back.
    pub(crate) waiting_writers: u32,
    /// Reused by every scan.
    leased: Vec<FrameId>,
}

impl Pool {
    pub(crate) fn new(metadata: Arc<MetadataSegment>, need: u32, max: u32) -> Pool {
        let capacity = metadata.layout().slots;
        Pool {
            slots: Vec::new(),
            free: Vec::new(),
            vacant: (0..capacity as u16).rev().map(SlotIndex).collect(),
            parked: Vec::new(),
            ready: VecDeque::with_capacity(capacity as usize),
            segments: Vec::new(),
            gone: Vec::new(),
            next_segment: 0,
            clients: Vec::new(),
            formats: Vec::new(),
            next_format: 1,
            eos: None,
            head: 0,
            slot_size: 0,
            need,
            max,
            waiting_writers: 0,
            leased: Vec::new(),
            metadata,
        }
    }

    fn slot(&mut self, index: SlotIndex) -> &mut Slot {
        &mut self.slots[usize::from(index.0)]
    }

    // ---- size

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// Slots with memory that frames to come can use.
    pub(crate) fn count(&self) -> u32 {
        let usable = |slot: &&Slot| slot.place.is_some() && !slot.outdated;
        self.slots.iter().filter(usable).count() as u32
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.mapping.len() as u64)
            .sum()
    }

    /// Most slots there can be.
    pub(crate) fn limit(&self) -> u32 {
        match self.max {
            0 => self.metadata.layout().slots / 2,
            max => max,
        }
    }

    /// Slots to add so that the producer, all clients and one more client with `leases` leases
    /// never run out: what the producer needs and every lease.
    ///
    /// # Errors
    /// The number of slots needed, where that is more than the limit.
    pub(crate) fn missing(&self, leases: u32) -> std::result::Result<u32, u32> {
        let clients: u32 = self.clients.iter().map(|client| client.page.leases()).sum();
        let needed = self.need + clients + leases;
        if needed > self.limit() {
            return Err(needed);
        }
        Ok(needed.saturating_sub(self.count()))
    }

    /// Slots to add when the producer holds more than it said, 0 when there can be no more.
    pub(crate) fn growth(&mut self) -> u32 {
        let count = self.count();
        let growth = (count / 4)
            .max(1)
            .min(self.limit().saturating_sub(count))
            .min(self.vacant.len() as u32);
        self.need += growth;
        growth
    }

    /// The producer needs at least this many slots for itself.
    pub(crate) fn raise_need(&mut self, need: u32) {
        self.need = self.need.max(need);
    }

    pub(crate) fn next_segment_id(&mut self) -> SegmentId {
        self.next_segment += 1;
        SegmentId(self.next_segment)
    }

    /// Takes a new segment's slots in.
    pub(crate) fn add_segment(
        &mut self,
        segment: Arc<PayloadSegment>,
        stride: usize,
    ) -> Result<()> {
        let count = segment.mapping.len() / stride;
        if count > self.vacant.len() {
            return Err(Error::Exhausted {
                slots: self.count(),
                max: self.limit(),
            });
        }
        for number in 0..count {
            let index = self.vacant.pop().expect("counted above");
            while self.slots.len() <= usize::from(index.0) {
                self.slots.push(Slot {
                    generation: Generation::UNUSED,
                    status: Status::Vacant,
                    frame: None,
                    position: 0,
                    format: 0,
                    held: false,
                    place: None,
                    outdated: false,
                    spill: None,
                });
            }
            let slot = self.slot(index);
            slot.place = Some(Place {
                segment: segment.clone(),
                offset: number * stride,
                size: stride,
            });
            slot.outdated = false;
            slot.status = Status::Free;
            self.free.push(index);
        }
        self.segments.push(segment);
        self.segments.sort_by_key(|segment| segment.id);
        Ok(())
    }

    /// From now on slots have `size` bytes. Where that is more than before, the slots there are
    /// go as they become free.
    pub(crate) fn resize(&mut self, size: usize) {
        if size <= self.slot_size {
            return;
        }
        self.slot_size = size;
        for slot in &mut self.slots {
            slot.outdated = slot.place.as_ref().is_some_and(|place| place.size < size);
        }
        for index in std::mem::take(&mut self.free) {
            self.make_free(index);
        }
    }

    // ---- clients

    pub(crate) fn add_client(&mut self, mut client: Client) -> u64 {
        // The newest frame at once, then the next ones.
        let newest = match self.ready.back() {
            Some(&index) => self.slots[usize::from(index.0)].position,
            None => self.head,
        };
        client.page.page().pass(newest);
        client.passed = newest;
        self.clients.push(client);
        newest
    }

    pub(crate) fn remove_client(&mut self, id: ClientId) {
        self.clients.retain(|client| client.id != id);
    }

    /// Gives up waiting for the clients that have not received the oldest frame, and names them.
    pub(crate) fn lapse(&mut self) -> Vec<ClientId> {
        let Some(position) = self.oldest_candidate() else {
            return Vec::new();
        };
        let mut lapsed = Vec::new();
        for client in &mut self.clients {
            client.refresh(self.head);
            if client.delivery == Delivery::InOrder && !client.lapsed && client.passed <= position {
                client.lapsed = true;
                lapsed.push(client.id);
            }
        }
        lapsed
    }

    /// Waits again for clients that have caught up, and names them.
    pub(crate) fn forgive(&mut self) -> Vec<ClientId> {
        let mut caught_up = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.lapsed) {
            client.refresh(self.head);
            if client.passed == self.head {
                client.lapsed = false;
                caught_up.push(client.id);
            }
        }
        caught_up
    }

    pub(crate) fn has_lapsed(&self) -> bool {
        self.clients.iter().any(|client| client.lapsed)
    }

    /// The position of the oldest frame that could be taken back, were it not for cursors.
    fn oldest_candidate(&self) -> Option<u64> {
        self.ready
            .iter()
            .map(|index| &self.slots[usize::from(index.0)])
            .find(|slot| {
                !slot.held
                    && slot
                        .frame
                        .is_some_and(|frame| !self.leased.contains(&frame))
            })
            .map(|slot| slot.position)
    }

    /// Whether a client that the writer waits for has yet to receive the frame at `position`.
    fn is_awaited(&mut self, position: u64) -> bool {
        let head = self.head;
        self.clients
            .iter_mut()
            .filter(|client| client.delivery == Delivery::InOrder && !client.lapsed)
            .any(|client| {
                client.refresh(head);
                client.passed <= position
            })
    }

    // ---- slots

    /// Finds a slot to write: a free one, else the oldest published frame that no client holds
    /// and the producer has let go. With `blocking`, a frame that a client has yet to receive is
    /// not taken.
    pub(crate) fn acquire(&mut self, blocking: bool) -> Acquired {
        if let Some(index) = self.free.pop() {
            return self.take(index);
        }
        self.scan();
        self.unpark();
        let mut blocked = false;
        let mut at = 0;
        while self.free.is_empty() && at < self.ready.len() {
            let index = self.ready[at];
            let slot = &self.slots[usize::from(index.0)];
            let (position, held) = (slot.position, slot.held);
            let frame = slot.frame.expect("a ready slot has a frame");
            let holders = self
                .leased
                .iter()
                .filter(|&&leased| leased == frame)
                .count();
            if holders > 0 {
                self.metadata.set_ref_count(index, holders as i32);
            }
            if held || holders > 0 {
                at += 1;
                continue;
            }
            if blocking && self.is_awaited(position) {
                blocked = true;
                break;
            }
            self.ready.remove(at);
            self.recycle(index);
        }
        match self.free.pop() {
            Some(index) => self.take(index),
            None if blocked => Acquired::Blocked,
            None => Acquired::Short,
        }
    }

    fn take(&mut self, index: SlotIndex) -> Acquired {
        let slot = self.slot(index);
        slot.status = Status::Writing;
        slot.held = true;
        Acquired::Slot(index)
    }

    /// Reads every client's leases.
    fn scan(&mut self) {
        self.leased.clear();
        for client in &self.clients {
            client.page.page().collect(&mut self.leased);
        }
    }

    /// Frees the parked slots that the last scan did not find leased.
    fn unpark(&mut self) {
        let mut at = 0;
        while at < self.parked.len() {
            let index = self.parked[at];
            let frame = self.slot(index).frame.expect("a parked slot had a frame");
            if self.leased.contains(&frame) {
                at += 1;
            } else {
                self.parked.swap_remove(at);
                self.make_free(index);
            }
        }
    }

    /// Takes a published frame back: the slot becomes free, or is parked.
    fn recycle(&mut self, index: SlotIndex) {
        let frame = self.slot(index).frame.expect("a ready slot has a frame");
        self.metadata.board().retire(frame);
        let slot = self.slot(index);
        slot.generation = slot.generation.next();
        if self
            .clients
            .iter()
            .any(|client| client.page.page().holds(frame))
        {
            self.slot(index).status = Status::Parked;
            self.parked.push(index);
        } else {
            self.make_free(index);
        }
    }

    fn make_free(&mut self, index: SlotIndex) {
        if let Some(spill) = self.slot(index).spill.take() {
            self.make_free(spill);
        }
        let slot = self.slot(index);
        slot.held = false;
        slot.frame = None;
        if !slot.outdated {
            slot.status = Status::Free;
            self.free.push(index);
            return;
        }
        slot.status = Status::Vacant;
        let place = slot.place.take().expect("an outdated slot has memory");
        self.vacant.push(index);
        let id = place.segment.id;
        let used = |slot: &Slot| {
            slot.place
                .as_ref()
                .is_some_and(|place| place.segment.id == id)
        };
        if !self.slots.iter().any(used) {
            self.segments.retain(|segment| segment.id != id);
            self.gone.push(place.segment);
        }
    }

    pub(crate) fn place(&mut self, index: SlotIndex) -> Place {
        let place = &self.slot(index).place;
        place.clone().expect("an acquired slot has memory")
    }

    /// Makes what was written known as the next frame. Completes `meta`, and tells the frame's
    /// position and whether clients have to be woken.
    pub(crate) fn publish(
        &mut self,
        index: SlotIndex,
        spill: Option<SlotIndex>,
        meta: &mut BufferMeta,
    ) -> (u64, bool) {
        let position = self.head;
        self.head += 1;
        let slot = self.slot(index);
        assert_eq!(slot.status, Status::Writing);
        slot.generation = slot.generation.next();
        let frame = FrameId {
            slot: index,
            generation: slot.generation,
        };
        slot.status = Status::Ready;
        slot.frame = Some(frame);
        slot.position = position;
        slot.format = meta.format;
        slot.spill = spill;
        meta.id = u32::from(index.0);
        meta.ref_count = 0;
        meta.seq = position;
        self.metadata.write_meta(index, meta);
        let pages = self.clients.iter().map(|client| client.page.page());
        let wake = self.metadata.board().publish(frame, position, pages);
        self.ready.push_back(index);
        (position, wake)
    }

    /// The producer does not touch the slot any more: it has written nothing, or its frame may be
    /// taken back.
    pub(crate) fn let_go(&mut self, index: SlotIndex) {
        match self.slot(index).status {
            Status::Writing => self.make_free(index),
            _ => self.slot(index).held = false,
        }
    }

    // ---- formats

    /// The number of the frames' format from now on.
    pub(crate) fn set_format(&mut self, text: &str) -> u32 {
        if let Some((id, last)) = self.formats.last()
            && &**last == text
        {
            return *id;
        }
        let in_use = self
            .ready
            .iter()
            .map(|index| self.slots[usize::from(index.0)].format);
        let oldest = in_use.min().unwrap_or(u32::MAX);
        self.formats.retain(|(id, _)| *id >= oldest);
        let id = self.next_format;
        self.next_format += 1;
        self.formats.push((id, text.into()));
        id
    }

    pub(crate) fn format(&self) -> u32 {
        self.formats.last().map_or(0, |(id, _)| *id)
    }
}
