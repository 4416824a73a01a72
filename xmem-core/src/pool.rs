//! Floor 3: the producer's set of slots. Which is next, what to grow, what to give up.
//!
//! Bookkeeping of one process, behind one lock in `writer.rs`; it makes no memory and never waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clients::{ClientId, Clients, Holders};
use crate::error::Refusal;
use crate::event::log::{Entry as Event, Log};
use crate::lease::SlotIndex;
use crate::segment::{LeasePage, MetadataSegment, PayloadSegment, SegmentId, Storage};

pub(crate) mod filling;
mod group;
mod grouping;
mod imports;
mod keep_alive;
mod publishing;
pub(crate) mod quotas;
pub(crate) mod recycling;
mod segments;
mod shedding;
mod sizing;
mod slot;
mod spares;
mod storage;

use filling::Filling;
use group::Group;
pub(crate) use keep_alive::KeepAlive;
pub(crate) use slot::Place;
use slot::{Entry, Slot};

/// Where a client starts.
#[derive(Debug)]
pub(crate) struct JoinPoint {
    /// Its first frame.
    pub(crate) position: u64,
    /// What is true there.
    pub(crate) events: Vec<Event>,
    /// The last event before that frame.
    pub(crate) event: u64,
    /// The last event before it joined: what overtakes and was said until then is not for it.
    pub(crate) joined: u64,
    /// The last event that is not for it of what is said once: `joined`, but where it begins with frames
    /// before the newest, and takes in what was said between these.
    pub(crate) once: u64,
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
    slots: Vec<Entry>,
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
    /// What was released since the lock was taken.
    released: Vec<KeepAlive>,
    next_segment: u32,
    pub(crate) clients: Clients,
    holders: Holders,
    /// Used again by every publish.
    pub(crate) sleepers: Vec<(ClientId, Arc<LeasePage>)>,
    /// Clients to be evicted, and why.
    pub(crate) unwanted: Vec<(ClientId, Refusal)>,
    /// All frames are in memory that other processes may write: no other kind will do.
    pub(crate) unsealed_only: bool,
    /// The memory that slots are made of.
    storage: Storage,
    /// What was said between the frames.
    pub(crate) log: Log,
    /// What clients that join begin with.
    group: Group,
    head: u64,
    /// Bytes of a new slot; 0 until they are known.
    slot_size: usize,
    /// Slots with memory that later frames can use.
    usable: u32,
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
    /// A pool without slots. Those to come are made of `storage`.
    pub(crate) fn new(
        metadata: Arc<MetadataSegment>,
        limits: Limits,
        blocking: bool,
        storage: Storage,
    ) -> Pool {
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
            storage,
            log: Log::default(),
            group: Group::new(limits.group),
            head: 0,
            slot_size: 0,
            usable: 0,
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
        &self.slots[usize::from(index.0)].slot
    }

    fn entry_mut(&mut self, index: SlotIndex) -> &mut Entry {
        &mut self.slots[usize::from(index.0)]
    }

    /// The place in the stream of the frame in a slot.
    fn position(&self, index: SlotIndex) -> Option<u64> {
        self.slot(index).published().map(|frame| frame.position)
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// What has kept bytes that no client can read any more, to be dropped without the lock.
    pub(crate) fn take_released(&mut self) -> Vec<KeepAlive> {
        std::mem::take(&mut self.released)
    }
}
