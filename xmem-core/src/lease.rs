//! Floor 1: the lease protocol. Every memory ordering that two processes rely on stands here.
//!
//! The producer writes the [`ChannelWords`], which clients only read; each client writes its own
//! [`ClientWords`], which the producer also reads and never trusts. Neither side waits for a lock.
//!
//! A frame is a slot under one generation ([`FrameId`]). The writer makes it known in two places:
//! the slot's state says `(generation, READY)`, and the ring's entry of its position names it. A
//! client claims it by writing its name into a lease word *and then looking again* whether the
//! state still says so. The writer takes a slot back by changing the state *and then looking*
//! whether a lease names it. Each side writes first and looks second, with a full fence between,
//! so of two that meet at least one sees the other (Dekker's argument):
//!
//! - The client sees the state changed: it gives up the claim, and has not read a byte.
//! - The writer sees the lease: it leaves the slot alone (the slot is *pinned*) until the lease is gone.
//!
//! `std` on atomics in read-only memory allows relaxed loads only, so the client's acquire loads of
//! the channel's words are relaxed loads followed by an acquire fence.
//!
//! Sleeping works the same way twice more: the client says in `sleep` that it is about to, then
//! looks at the head once more; the writer moves the head, then looks at every `sleep`. And where
//! the writer waits for clients (mostly with `overflow=block`), with `writer_waiting`, and the
//! cursors and leases. Each word that a process sleeps on stands in a client's page, which no
//! third process has.
//!
//! `lease/model.rs` runs all of it under loom, with each fence and without it.

use std::num::NonZeroU64;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(test, loom))]
mod model;

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotIndex(pub(crate) u16);

/// How often a slot's content has changed: even while it holds a frame, odd in between.
///
/// 48 bits are used; at 1,000 frames a second in one slot they last 4,000 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// The generation of a slot that never held a frame: the first frame has 2.
    pub(crate) const UNUSED: Generation = Generation(1);

    pub(crate) fn next(self) -> Generation {
        Generation((self.0 + 1) & (u64::MAX >> SLOT_BITS))
    }
}

const SLOT_BITS: u32 = 16;
const READY: u64 = 1;
const RETIRED: u64 = 0;

/// One frame: a slot under one generation. As a word: the generation above 16 bits of slot.
///
/// The word 0 is no frame, because a frame's generation is at least 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameId(NonZeroU64);

impl FrameId {
    /// # Panics
    /// Under the generation 0, which no slot ever has.
    pub(crate) fn new(slot: SlotIndex, generation: Generation) -> FrameId {
        let word = NonZeroU64::new(generation.0 << SLOT_BITS | u64::from(slot.0));
        FrameId(word.expect("generations are counted from 1"))
    }

    fn word(self) -> u64 {
        self.0.get()
    }

    fn from_word(word: u64) -> Option<FrameId> {
        NonZeroU64::new(word).map(FrameId)
    }

    pub(crate) fn slot(self) -> SlotIndex {
        SlotIndex(self.word() as u16)
    }

    pub(crate) fn generation(self) -> Generation {
        Generation(self.word() >> SLOT_BITS)
    }
}

impl std::fmt::Debug for FrameId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameId({}, {})", self.slot().0, self.generation().0)
    }
}

fn state_word(generation: Generation, status: u64) -> u64 {
    generation.0 << SLOT_BITS | status
}

/// The full fences, by name, so that the model can leave one out and show what breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FullFence {
    /// Writer: state retired, then leases read. Pairs with `Claim`.
    Recycle,
    /// Client: lease written, then state read. Pairs with `Recycle`.
    Claim,
    /// Writer: head moved, then `sleep` read. Pairs with `Sleep`.
    Publish,
    /// Client: `sleep` written, then head read. Pairs with `Publish`.
    Sleep,
    /// Client: cursor or lease written, then `writer_waiting` read. Pairs with `Block`.
    Progress,
    /// Writer: `writer_waiting` written, then cursors and leases read. Pairs with `Progress`.
    Block,
}

#[inline]
fn full_fence(which: FullFence) {
    #[cfg(all(test, loom))]
    if model::omitted() == Some(which) {
        return;
    }
    let _ = which;
    fence(Ordering::SeqCst);
}

/// An acquire load that is allowed on memory mapped read-only.
#[inline]
fn load_acquire_64(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// The words of the metadata segment that the protocol runs on: the producer writes, all read.
#[derive(Clone, Copy)]
pub(crate) struct ChannelWords<'a> {
    /// For each slot its generation and whether it holds a frame.
    pub(crate) states: &'a [AtomicU64],
    /// The frames published last, by position modulo the length.
    pub(crate) ring: &'a [AtomicU64],
    /// How many frames were published: the position of the next.
    pub(crate) head: &'a AtomicU64,
    /// 1 while the writer sleeps until clients have made progress.
    pub(crate) writer_waiting: &'a AtomicU32,
    /// 1 more than the position before which the stream ended last; 0 when it never did.
    pub(crate) end: &'a AtomicU64,
}

/// The words of one client's lease page: the client writes, the producer reads. It writes `wake`
/// alone, and `cursor` once, before the client joins.
#[derive(Clone, Copy)]
pub(crate) struct ClientWords<'a> {
    /// The futex word that the client sleeps on. It changes before each wake.
    pub(crate) wake: &'a AtomicU32,
    /// Counts the client's sleeps: odd while it sleeps, or is about to.
    pub(crate) sleep: &'a AtomicU64,
    /// The futex word that a blocked writer sleeps on.
    pub(crate) progress: &'a AtomicU32,
    /// The position of the frame that the client will receive next.
    pub(crate) cursor: &'a AtomicU64,
    /// How many frames the client has missed. A figure.
    pub(crate) missed: &'a AtomicU64,
    /// The frames that the client holds; 0 is none.
    pub(crate) leases: &'a [AtomicU64],
}

/// The writer's side. One thread at a time calls these.
impl ChannelWords<'_> {
    /// Takes the READY mark from frames. Afterwards no client gets a new lease on them, and
    /// [`ClientWords::held`] and [`ClientWords::holds`] tell of every lease that there is.
    pub(crate) fn retire(&self, frames: impl IntoIterator<Item = FrameId>) {
        for frame in frames {
            let state = &self.states[usize::from(frame.slot().0)];
            // Relaxed: the fence below orders it before the scan, and no data is read because of it.
            state.store(
                state_word(frame.generation().next(), RETIRED),
                Ordering::Relaxed,
            );
        }
        // SYNC POINT with `try_claim`: either its fence came first, then the scan after this
        // fence sees its lease; or this one did, then it sees the state stored above.
        full_fence(FullFence::Recycle);
    }

    /// Makes the frame that was written into a slot known as number `position`. Ask every page
    /// then whether it [has to be woken](ClientWords::must_wake).
    pub(crate) fn publish(&self, frame: FrameId, position: u64) {
        // SYNC POINT with `try_claim`: Release, so that a client which sees READY under this generation, or
        // the ring's entry, sees the payload and the BufferMeta written before.
        self.states[usize::from(frame.slot().0)]
            .store(state_word(frame.generation(), READY), Ordering::Release);
        self.ring[position as usize & (self.ring.len() - 1)].store(frame.word(), Ordering::Release);
        // SYNC POINT with `head`: a client that sees the new head sees the ring's entry below it.
        self.head.store(position + 1, Ordering::Release);
        // SYNC POINT with `prepare_sleep`: either the client's fence came first, then the look at
        // `sleep` after this one sees it; or this one did, then the client sees the new head and
        // does not sleep.
        full_fence(FullFence::Publish);
    }

    /// Ends the stream before the frame at `position`, which is published later, if ever.
    pub(crate) fn end_stream(&self, position: u64) {
        // SYNC POINT with `head`: the next frame's head is stored after this, so a client that sees that
        // frame sees the end before it.
        self.end.store(position + 1, Ordering::Relaxed);
    }

    /// Announces that the writer is about to sleep. Look at cursors and leases once more after
    /// this, and at `progress` before that; then sleep on `progress`.
    pub(crate) fn prepare_block(&self) {
        self.writer_waiting.store(1, Ordering::Relaxed);
        // SYNC POINT with `wake_writer`: either the client's fence came first, then the look after
        // this fence sees its progress; or this one did, then the client sees the flag and wakes.
        full_fence(FullFence::Block);
    }

    pub(crate) fn finish_block(&self) {
        self.writer_waiting.store(0, Ordering::Relaxed);
    }
}

/// What a client finds at a position of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The frame is ours until the lease is released. It may be a later one than asked for: its
    /// `BufferMeta.seq` tells.
    Leased(FrameId),
    /// The frame is gone; the next may be there.
    Lost,
    /// Nothing was published here yet.
    Empty,
}

/// The client's side: these only load from the channel's words.
impl ChannelWords<'_> {
    /// How many frames were published.
    pub(crate) fn head(&self) -> u64 {
        load_acquire_64(self.head)
    }

    /// The position before which the stream ended last, if it did. Complete for frames below a
    /// head that was read before.
    pub(crate) fn end(&self) -> Option<u64> {
        load_acquire_64(self.end).checked_sub(1)
    }

    /// Claims the frame at `position` with the client's lease number `lease`, which is free.
    pub(crate) fn try_claim(&self, client: &ClientWords<'_>, lease: usize, position: u64) -> Claim {
        if position >= self.head() {
            return Claim::Empty;
        }
        let word = load_acquire_64(&self.ring[position as usize & (self.ring.len() - 1)]);
        let Some(frame) = FrameId::from_word(word) else {
            return Claim::Lost;
        };
        // The ring is another process's memory: its slot may be any number.
        let Some(state) = self.states.get(usize::from(frame.slot().0)) else {
            return Claim::Lost;
        };
        // SYNC POINT with `holds` and `held`: Release, so that a writer which finds this name
        // where it looked for the one before knows that we have read that frame to the end.
        client.leases[lease].store(frame.word(), Ordering::Release);
        // SYNC POINT with `retire`.
        full_fence(FullFence::Claim);
        // SYNC POINT with `publish`: what stands READY under this generation is written.
        if load_acquire_64(state) == state_word(frame.generation(), READY) {
            Claim::Leased(frame)
        } else {
            client.leases[lease].store(0, Ordering::Release);
            Claim::Lost
        }
    }

    /// Announces that the client is about to sleep until something is published at `position`.
    /// False where that is there already. Else sleep once on `client.wake`, with the value that
    /// [`ClientWords::wake_value`] had before the first look, then [finish](ClientWords::finish_sleep).
    pub(crate) fn prepare_sleep(&self, client: &ClientWords<'_>, position: u64) -> bool {
        // Odd, and never the number of an earlier sleep. The word is the client's alone.
        let sleep = client.sleep.load(Ordering::Relaxed).wrapping_add(1) | 1;
        client.sleep.store(sleep, Ordering::Relaxed);
        // SYNC POINT with `publish`.
        full_fence(FullFence::Sleep);
        let is_due = self.head() <= position;
        if !is_due {
            client.finish_sleep();
        }
        is_due
    }

    /// Whether the writer waits for progress and must be woken through `client.progress`. Called
    /// after a cursor moved or a lease was released.
    pub(crate) fn wake_writer(&self, client: &ClientWords<'_>) -> bool {
        // SYNC POINT with `prepare_block`.
        full_fence(FullFence::Progress);
        if self.writer_waiting.load(Ordering::Relaxed) == 0 {
            return false;
        }
        client.progress.fetch_add(1, Ordering::Release);
        true
    }
}

impl ClientWords<'_> {
    /// Writer: whether a lease of this client names the frame.
    pub(crate) fn holds(&self, frame: FrameId) -> bool {
        // SYNC POINT with `release`: Acquire, so that all the client read under a lease that is
        // seen gone happened before what the writer does next to the slot.
        self.leases
            .iter()
            .any(|lease| lease.load(Ordering::Acquire) == frame.word())
    }

    /// Writer: the frames that this client says it holds; whether they exist is not checked.
    pub(crate) fn held(&self) -> impl Iterator<Item = FrameId> {
        // SYNC POINT with `release`, as in `holds`.
        let words = self
            .leases
            .iter()
            .map(|lease| lease.load(Ordering::Acquire));
        words.filter_map(FrameId::from_word)
    }

    /// Writer: the sleep in which the client has to be woken now that the frame at `position` is
    /// published. `None` where it is awake, was woken in that sleep (`woken`) already, or has
    /// received the frame.
    ///
    /// Each sleep is one wait on the futex, and has a number of its own. So a client that is slow
    /// to wake up costs one wake, however many frames are published meanwhile, and the writer never
    /// has to lower a flag of the client's, which could undo the announcement of its next sleep.
    pub(crate) fn must_wake(&self, position: u64, woken: u64) -> Option<u64> {
        let sleep = self.sleep.load(Ordering::Relaxed);
        let is_asleep = sleep % 2 == 1 && sleep != woken;
        (is_asleep && self.cursor.load(Ordering::Relaxed) <= position).then_some(sleep)
    }

    /// Writer: changes the word that the client sleeps on, and returns its value. Wake it there
    /// afterwards.
    pub(crate) fn end_sleep(&self) -> u32 {
        // SYNC POINT with `wake_value`: the client has loaded it before it announced this sleep, so
        // it sees a change, or sleeps already.
        self.wake.fetch_add(1, Ordering::Release).wrapping_add(1)
    }

    /// Client: the value of `wake` to sleep with. Load it before every look at what could make
    /// the sleep unnecessary.
    pub(crate) fn wake_value(&self) -> u32 {
        // SYNC POINT with `end_sleep`: Acquire, so that the announcement of the sleep comes after
        // this load, and an end of that sleep changes the value.
        self.wake.load(Ordering::Acquire)
    }

    /// Client: gives a frame back, after the last read of it.
    pub(crate) fn release(&self, lease: usize) {
        // SYNC POINT with `holds` and `held`.
        self.leases[lease].store(0, Ordering::Release);
    }

    /// Client: moves on; what is below `position` is received or given up.
    pub(crate) fn pass(&self, position: u64) {
        // SYNC POINT with `position`: a writer that sees the cursor sees a lease written before.
        self.cursor.store(position, Ordering::Release);
    }

    /// Writer: the client's cursor, as the client says.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.load(Ordering::Acquire)
    }

    /// Client: awake again.
    pub(crate) fn finish_sleep(&self) {
        let awake = self.sleep.load(Ordering::Relaxed).wrapping_add(1) & !1;
        self.sleep.store(awake, Ordering::Relaxed);
    }
}
