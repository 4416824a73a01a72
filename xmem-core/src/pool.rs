//! Floor 3: the producer's set of slots. Which is next, what to grow, what to give up.
//!
//! Bookkeeping of one process, behind one lock in `writer.rs`; it makes no memory and never waits.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::clients::{Client, ClientId, Clients, Holders, Lagging};
use crate::error::Refusal;
use crate::event::EventKind;
use crate::event::log::{Entry, Log};
use crate::lease::{FrameId, Generation, SlotIndex};
use crate::meta::BufferMeta;
use crate::segment::{LeasePage, MetadataSegment, PayloadSegment, SegmentId};
use crate::sys::clock;

pub(crate) mod filling;
mod group;
mod grouping;
mod imports;
mod keep_alive;
pub(crate) mod quotas;
mod shedding;
mod sizing;
mod spares;

use filling::Filling;
use group::Group;
pub(crate) use keep_alive::KeepAlive;

/// A range of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<PayloadSegment>,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// Where a client starts.
#[derive(Debug)]
pub(crate) struct JoinPoint {
    /// Its first frame.
    pub(crate) position: u64,
    /// What is true there.
    pub(crate) events: Vec<Entry>,
    /// The last event before that frame.
    pub(crate) event: u64,
    /// The last event before it joined: what overtakes and was said until then is not for it.
    pub(crate) joined: u64,
    /// The last event that is not for it of what is said once: `joined`, but where it begins with frames
    /// before the newest, and takes in what was said between these.
    pub(crate) once: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// A number without memory.
    Vacant,
    Free,
    /// In the producer's hands, not published.
    Writing,
    Ready,
    /// Retired while a client or the producer held it.
    Pinned,
}

#[derive(Debug)]
struct Slot {
    /// As in the shared state word: even while READY, odd otherwise.
    generation: Generation,
    status: Status,
    /// The place in the stream of the frame published last, and the last event before it.
    position: u64,
    event: u64,
    /// The producer still reads or writes it.
    held: bool,
    place: Option<Place>,
    /// Its memory goes when it is free: the slots are larger by now.
    outdated: bool,
    /// Where the frame's extra bytes are, when they are many.
    spill: Option<Place>,
    /// What keeps the frame's bytes, where they are in imported memory.
    keep_alive: Option<KeepAlive>,
}

impl Slot {
    const VACANT: Slot = Slot {
        generation: Generation::UNUSED,
        status: Status::Vacant,
        position: 0,
        event: 0,
        held: false,
        place: None,
        outdated: false,
        spill: None,
        keep_alive: None,
    };

    fn is_usable(&self) -> bool {
        self.place.is_some() && !self.outdated
    }
}

/// What [`Pool::acquire`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Slot(SlotIndex),
    /// Every slot that could be had is one that a client has yet to receive.
    Blocked,
    /// Every slot that could be had is one of the group that clients to come begin with.
    Grouped,
    /// The producer and the clients hold every slot.
    Short,
    /// The channel is closed.
    Closed,
}

/// How many slots there must be, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Slots that the producer itself needs, one to publish included.
    pub(crate) need: u32,
    /// Most slots, 0 for as many as the metadata segment has room for.
    pub(crate) max_slots: u32,
    /// Most bytes of slots, 0 for what is usual.
    pub(crate) max_bytes: u64,
    /// How long the frames since the newest sync point are kept for clients that join.
    pub(crate) group: Duration,
}

#[derive(Debug)]
pub(crate) struct Pool {
    metadata: Arc<MetadataSegment>,
    slots: Vec<Slot>,
    /// A stack: what was used last is taken first.
    free: Vec<SlotIndex>,
    vacant: Vec<SlotIndex>,
    /// In the order in which they were retired.
    pinned: Vec<SlotIndex>,
    /// Published, oldest first.
    ready: VecDeque<SlotIndex>,
    /// Memory for extra bytes that no frame has now.
    spares: Vec<Place>,
    /// The segments of such memory that frames have which are not published yet, one entry a frame.
    in_hand: Vec<SegmentId>,
    /// The segments in use, in the order of their numbers.
    pub(crate) segments: Vec<Arc<PayloadSegment>>,
    /// Those that clients were not told of yet. A frame in them would be lost with this process.
    untold: Vec<SegmentId>,
    /// Segments that nothing uses any more: to be dropped, which unmaps, off the streaming thread.
    pub(crate) gone: Vec<Arc<PayloadSegment>>,
    /// What has kept bytes that no client can read any more. It is dropped without the lock.
    pub(crate) released: Vec<KeepAlive>,
    next_segment: u32,
    pub(crate) clients: Clients,
    holders: Holders,
    /// Used again by every publish.
    pub(crate) sleepers: Vec<(ClientId, Arc<LeasePage>)>,
    /// Clients to be evicted, and why.
    pub(crate) unwanted: Vec<(ClientId, Refusal)>,
    /// All frames are in memory that other processes may write: no other kind will do.
    pub(crate) unsealed_only: bool,
    /// What was said between the frames.
    pub(crate) log: Log,
    /// What clients that join begin with.
    group: Group,
    head: u64,
    /// Bytes of a new slot; 0 until they are known.
    slot_size: usize,
    /// Slots that the producer itself needs, one to publish included.
    need: u32,
    /// Whether slots are missing that the control thread makes.
    pub(crate) filling: Filling,
    /// Most slots, 0 for as many as the metadata segment has room for.
    max: u32,
    /// Most bytes of slots, 0 where the user has set none.
    max_bytes: u64,
    /// Bytes of segments that no slot uses any more and that clients still have.
    pub(crate) departed_bytes: u64,
    /// A frame that a client has yet to receive is not taken back.
    blocking: bool,
    /// Nothing more is acquired or published.
    pub(crate) closed: bool,
    /// Threads that sleep until a slot comes back.
    pub(crate) waiting_writers: u32,
}

impl Pool {
    pub(crate) fn new(metadata: Arc<MetadataSegment>, limits: Limits, blocking: bool) -> Pool {
        let capacity = metadata.layout().slots;
        Pool {
            slots: Vec::new(),
            free: Vec::new(),
            vacant: (0..capacity as u16).rev().map(SlotIndex).collect(),
            pinned: Vec::new(),
            ready: VecDeque::with_capacity(capacity as usize),
            spares: Vec::new(),
            in_hand: Vec::new(),
            segments: Vec::new(),
            untold: Vec::new(),
            gone: Vec::new(),
            released: Vec::new(),
            next_segment: 0,
            clients: Clients::default(),
            holders: Holders::default(),
            sleepers: Vec::new(),
            unwanted: Vec::new(),
            unsealed_only: false,
            log: Log::default(),
            group: Group::new(limits.group),
            head: 0,
            slot_size: 0,
            need: limits.need,
            filling: Filling::Done,
            max: limits.max_slots,
            max_bytes: limits.max_bytes,
            departed_bytes: 0,
            blocking,
            closed: false,
            waiting_writers: 0,
            metadata,
        }
    }

    fn slot(&self, index: SlotIndex) -> &Slot {
        &self.slots[usize::from(index.0)]
    }

    fn slot_mut(&mut self, index: SlotIndex) -> &mut Slot {
        &mut self.slots[usize::from(index.0)]
    }

    // ---- what there is

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn slot_size(&self) -> usize {
        self.slot_size
    }

    pub(crate) fn next_segment_id(&mut self) -> SegmentId {
        self.next_segment += 1;
        SegmentId(self.next_segment)
    }

    /// Takes a new segment's slots in, as far as there are numbers for them, and no more than there
    /// can be: others may have been made meanwhile. Tells how many are of use.
    pub(crate) fn add_segment(&mut self, segment: &Arc<PayloadSegment>, stride: usize) -> u32 {
        let before = self.count();
        let left = self.limit().saturating_sub(before) as usize;
        let count = left.min(segment.size() / stride).min(self.vacant.len());
        if count == 0 {
            return 0;
        }
        self.add_to_segments(segment.clone());
        let free = self.free.len();
        for number in 0..count {
            let index = self.vacant.pop().expect("there are as many");
            self.make_entry(index);
            // Another thread may have made the slots larger while this segment was made.
            let outdated = stride < self.slot_size;
            let slot = self.slot_mut(index);
            slot.place = Some(Place {
                segment: segment.clone(),
                offset: number * stride,
                size: stride,
            });
            slot.outdated = outdated;
            self.make_free(index);
        }
        // They are taken last: clients have yet to be told of them, and to map them.
        self.free.rotate_left(free);
        self.grant();
        self.count() - before
    }

    fn make_entry(&mut self, index: SlotIndex) {
        while self.slots.len() <= usize::from(index.0) {
            self.slots.push(Slot::VACANT);
        }
    }

    /// A segment is in use, that clients have to be told of.
    pub(crate) fn add_to_segments(&mut self, segment: Arc<PayloadSegment>) {
        if !segment.is_imported() {
            self.untold.push(segment.id);
        }
        self.segments.push(segment);
        self.segments.sort_by_key(|segment| segment.id);
    }

    /// The clients that there are were told of these segments, as far as they listen.
    pub(crate) fn note_told(&mut self, segments: &[Arc<PayloadSegment>]) {
        let is_among = |segments: &[Arc<PayloadSegment>], id: &SegmentId| {
            segments.binary_search_by_key(id, |one| one.id).is_ok()
        };
        // Some are gone again.
        let there = &self.segments;
        self.untold
            .retain(|id| is_among(there, id) && !is_among(segments, id));
    }

    /// Clients are told of what there is later than frames can wait for it.
    pub(crate) fn give_up_telling(&mut self) {
        self.untold.clear();
    }

    /// Whether clients were not told yet of memory that is in use.
    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Whether a frame in this slot, and with these extra bytes, is in memory that clients were not told
    /// of yet.
    pub(crate) fn is_untold(&self, index: SlotIndex, spill: Option<&Place>) -> bool {
        let places = [self.slot(index).place.as_ref(), spill];
        let is_untold = |place: &Place| self.untold.contains(&place.segment.id);
        // A frame costs a comparison: as a rule there is none.
        self.has_untold() && self.clients.len() > 0 && places.into_iter().flatten().any(is_untold)
    }

    // ---- clients

    /// Takes a client in. It gets the newest group at once, or the newest frame, where it takes memory
    /// of that kind, then the next ones.
    pub(crate) fn add_client(&mut self, client: Client) -> JoinPoint {
        let joined = self.log.last();
        let (position, event) = match self.first_for(&client) {
            Some(slot) => (slot.position, slot.event),
            None => (self.head, joined),
        };
        let once = if self.is_grouped(position) {
            event
        } else {
            joined
        };
        self.clients.add(client, position);
        self.assign();
        JoinPoint {
            position,
            events: self.log.as_of(event, position),
            event,
            joined,
            once,
        }
    }

    /// Gives up waiting for those of the clients that hold up the oldest frame that have made no
    /// progress for `timeout`, and tells when the next of them will have made none for so long.
    pub(crate) fn mark_lagging(
        &mut self,
        now: Duration,
        timeout: Duration,
    ) -> (Vec<Lagging>, Option<Duration>) {
        let oldest = self.oldest_let_go().map(|at| self.ready[at]);
        match oldest.map(|index| self.slot(index).position) {
            Some(position) => self
                .clients
                .mark_lagging(position, self.head, (now, timeout)),
            None => (Vec::new(), None),
        }
    }

    // ---- slots

    /// Finds a slot to write: a free one, else the oldest published frame that no client holds
    /// and the producer has let go. Where the writer blocks, a frame that a client has yet to
    /// receive is not taken.
    pub(crate) fn acquire(&mut self) -> Acquired {
        if self.closed {
            return Acquired::Closed;
        }
        let has_looked = self.take_back_passed();
        if self.free.is_empty() && !has_looked {
            self.look();
        }
        let mut blocked = false;
        while self.free.is_empty() {
            // From the oldest on each time: a look may have found one let go that was held before.
            let Some(at) = self.oldest_let_go() else {
                break;
            };
            if self.is_awaited(self.ready[at]) {
                // So are those after it, which came later.
                blocked = true;
                break;
            }
            if self.is_grouped(self.slot(self.ready[at]).position) {
                return Acquired::Grouped;
            }
            if !self.take_back_one(at) {
                // A client has leased it since the last look, and another may have been let go.
                // There is an end to that: a look finds at most as many frames held as there are
                // leases, and all others that were tried are free.
                self.look();
            }
        }
        match self.free.pop() {
            Some(index) => self.take(index),
            None if blocked => Acquired::Blocked,
            None => Acquired::Short,
        }
    }

    /// Which of the published frames is the oldest that a slot is gained by.
    fn oldest_let_go(&self) -> Option<usize> {
        let is_it = |&index: &SlotIndex| self.is_let_go(index) && !self.slot(index).is_imported();
        self.ready.iter().position(is_it)
    }

    /// Takes back the frames that no client needs any more: every client that wants all frames has
    /// passed them. The newest stays, for clients to come, and so does the group that it belongs to.
    /// Those that are held are free later.
    ///
    /// They come to lie on top of the free slots, the latest uppermost. So a stream whose clients
    /// keep up goes round in the two or three slots that are in the processors' caches, however
    /// many there are.
    /// Says whether there were some: then it has [looked](Pool::look).
    fn take_back_passed(&mut self) -> bool {
        let passed = self.clients.passed(self.head);
        let passed = passed.min(self.group.first_kept());
        let first = self.pinned.len();
        while let [Some(&oldest), Some(_)] = [self.ready.front(), self.ready.get(1)]
            && self.slot(oldest).position < passed
        {
            self.ready.pop_front();
            self.pinned.push(oldest);
        }
        self.retire_pinned(first)
    }

    /// Takes back the frame at this place among the published ones, which no client held at the
    /// last look. Says whether its slot is free.
    fn take_back_one(&mut self, at: usize) -> bool {
        let Some(index) = self.ready.remove(at) else {
            return false;
        };
        self.group.lose(self.slot(index).position);
        let frame = self.holders.frame(index);
        self.metadata.words().retire(frame);
        let is_leased = frame.is_some_and(|frame| self.clients.hold(frame));
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.next();
        slot.status = Status::Pinned;
        let is_free = !is_leased && !slot.held;
        if is_free {
            self.make_free(index);
        } else {
            self.pinned.push(index);
        }
        is_free
    }

    /// Takes back the published frames that `which` wants.
    fn take_back(&mut self, which: impl Fn(&mut Pool, SlotIndex) -> bool) {
        let first = self.pinned.len();
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else {
                break;
            };
            if which(self, index) {
                self.group.lose(self.slot(index).position);
                self.pinned.push(index);
            } else {
                self.ready.push_back(index);
            }
        }
        self.retire_pinned(first);
    }

    /// Takes the READY mark from the frames that were pinned from `first` on, and looks at the leases.
    /// Clients may have leases on them, and the producer may read them; the others are free.
    /// Says whether there were some.
    fn retire_pinned(&mut self, first: usize) -> bool {
        if first == self.pinned.len() {
            return false;
        }
        let frames = self.pinned[first..].iter();
        let frames = frames.filter_map(|&index| self.holders.frame(index));
        self.metadata.words().retire(frames);
        for at in first..self.pinned.len() {
            let slot = &mut self.slots[usize::from(self.pinned[at].0)];
            slot.generation = slot.generation.next();
            slot.status = Status::Pinned;
        }
        self.look();
        true
    }

    /// Looks at all leases, and frees the pinned slots that neither a client nor the producer
    /// holds, in the order in which they were retired.
    fn look(&mut self) {
        self.clients.scan(&mut self.holders);
        for (index, count) in self.holders.take_changes() {
            self.metadata.set_ref_count(index, i32::from(count));
        }
        let mut kept = 0;
        for at in 0..self.pinned.len() {
            let index = self.pinned[at];
            if self.is_let_go(index) {
                self.make_free(index);
            } else {
                self.pinned[kept] = index;
                kept += 1;
            }
        }
        self.pinned.truncate(kept);
    }

    fn take(&mut self, index: SlotIndex) -> Acquired {
        let slot = self.slot_mut(index);
        slot.status = Status::Writing;
        slot.held = true;
        Acquired::Slot(index)
    }

    /// Whether neither the producer nor, at the last look, a client holds the slot's frame.
    fn is_let_go(&self, index: SlotIndex) -> bool {
        self.holders.count(index) == 0 && !self.slot(index).held
    }

    /// Whether the writer has to wait until a client has received the slot's frame.
    fn is_awaited(&mut self, index: SlotIndex) -> bool {
        let position = self.slot(index).position;
        self.blocking && self.clients.await_frame(position, self.head)
    }

    fn make_free(&mut self, index: SlotIndex) {
        if let Some(spill) = self.slot_mut(index).spill.take() {
            self.spares.push(spill);
        }
        self.holders.set_frame(index, None);
        let slot = self.slot_mut(index);
        slot.held = false;
        if let Some(keep_alive) = slot.keep_alive.take() {
            slot.status = Status::Vacant;
            slot.place = None;
            slot.outdated = false;
            self.vacant.push(index);
            self.released.push(keep_alive);
            return;
        }
        if !slot.outdated {
            slot.status = Status::Free;
            self.free.push(index);
            return;
        }
        slot.status = Status::Vacant;
        let place = slot.place.take().expect("an outdated slot has memory");
        self.vacant.push(index);
        self.give_up(place);
    }

    /// Lets go of a place, and of its segment, where nothing else is in it.
    fn give_up(&mut self, place: Place) {
        let id = place.segment.id;
        let is_in_it = |place: &Place| place.segment.id == id;
        let places = self
            .slots
            .iter()
            .flat_map(|slot| [&slot.place, &slot.spill]);
        let mut places = places.flatten().chain(&self.spares);
        if places.any(is_in_it) || self.in_hand.contains(&id) {
            return;
        }
        self.segments.retain(|segment| segment.id != id);
        self.gone.push(place.segment);
    }

    pub(crate) fn place(&self, index: SlotIndex) -> Place {
        let place = self.slot(index).place.clone();
        place.expect("an acquired slot has memory")
    }

    /// Makes what was written known as the next frame. Completes `meta`, tells the frame's
    /// position and whether another number of slots is needed from now on, and adds the clients to `sleepers` that have to be woken.
    pub(crate) fn publish(
        &mut self,
        index: SlotIndex,
        spill: Option<Place>,
        meta: &mut BufferMeta,
        sleepers: &mut Vec<(ClientId, Arc<LeasePage>)>,
    ) -> (u64, bool) {
        let position = self.head;
        self.head += 1;
        meta.event = self.log.last();
        let slot = self.slot_mut(index);
        assert_eq!(slot.status, Status::Writing);
        slot.generation = slot.generation.next();
        let frame = FrameId::new(index, slot.generation);
        slot.status = Status::Ready;
        slot.position = position;
        slot.event = meta.event;
        if let Some(place) = &spill {
            self.leave_hand(place.segment.id);
        }
        self.slot_mut(index).spill = spill;
        meta.id = u32::from(index.0);
        meta.ref_count = 0;
        meta.seq = position;
        self.holders.set_frame(index, Some(frame));
        self.metadata.write_meta(index, meta);
        self.metadata.words().publish(frame, position);
        self.ready.push_back(index);
        self.clients.collect_sleepers(position, sleepers);
        let is_other_need = self.group.add(position, meta.role(), clock::monotonic);
        if is_other_need {
            self.assign();
        }
        (position, is_other_need)
    }

    /// The producer does not touch the slot any more: it has written nothing, or its frame may be
    /// taken back.
    pub(crate) fn let_go(&mut self, index: SlotIndex) {
        match self.slot(index).status {
            Status::Writing => self.make_free(index),
            _ => self.slot_mut(index).held = false,
        }
    }

    // ---- events

    /// Whether this is true already. The stream ends once, unless something follows.
    pub(crate) fn is_said(&self, kind: EventKind, content: &[u8]) -> bool {
        self.log.current(kind).is_some_and(|entry| match kind {
            EventKind::EndOfStream => {
                (entry.position, entry.number) == (self.head, self.log.last())
            }
            _ => *entry.content == *content,
        })
    }

    /// What was said last of this kind and key.
    pub(crate) fn current(&self, kind: EventKind) -> Option<Arc<[u8]>> {
        self.log.current(kind).map(|entry| entry.content.clone())
    }

    /// Says something before the next frame; `memory` holds it, where it is long.
    pub(crate) fn say(&mut self, kind: EventKind, content: Arc<[u8]>, memory: Option<OwnedFd>) {
        // Frames that a client holds may still be on their way through it: theirs are in use too.
        let in_use = || {
            let frames = self.ready.iter().chain(&self.pinned);
            frames
                .map(|index| self.slots[usize::from(index.0)].event)
                .collect()
        };
        let memory = memory.map(Arc::new);
        if kind == EventKind::Flush {
            // The frames before it are void.
            self.group.give_up();
        }
        self.log.push(self.head, kind, content, memory, in_use);
    }
}
