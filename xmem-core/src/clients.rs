//! Floor 3: the clients that are in the scan, and what the writer believes of their lease pages.

use std::sync::Arc;
use std::time::Duration;

use crate::lease::{FrameId, SlotIndex};
use crate::message::Delivery;
use crate::quota::Quota;
use crate::segment::{LeasePage, MemoryKind, Takes};

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

/// What a client has said of itself, and the kernel of its process.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) delivery: Delivery,
    /// Frames that it wants to be kept at first, if they are small.
    pub(crate) backlog: u32,
    /// The kinds of memory that it takes frames in.
    pub(crate) takes: Takes,
    /// It runs as the producer's user.
    pub(crate) is_own_user: bool,
}

/// A client that is in the scan.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) page: Arc<LeasePage>,
    pub(crate) identity: Identity,
    /// The leases that it had when it joined, or fewer where it has given some up.
    pub(crate) base: u32,
    /// The number of its last request, and what it asked for.
    pub(crate) request: u32,
    pub(crate) wanted: Quota,
    /// What the producer's limits allow of that.
    pub(crate) target: Quota,
    /// What it has.
    pub(crate) granted: Quota,
    /// The largest backlog that it could have.
    pub(crate) most: u32,
    /// The furthest that its cursor was seen: what it writes is not believed to go back, or ahead
    /// of the stream.
    passed: u64,
    /// The sleep that it was woken from last.
    woken: u64,
    /// Since when the writer has waited for it in vain.
    stall: Option<Stall>,
    /// It has made the writer wait too long: until it has caught up, the writer does not wait for it.
    pub(crate) lagging: bool,
    /// It has broken the protocol: the writer does not wait for it any more. It keeps what it holds
    /// until it hangs up.
    pub(crate) evicted: bool,
}

/// A client's standstill: what the writer saw of it when it last made progress.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// On `CLOCK_MONOTONIC`.
    since: Duration,
    passed: u64,
    /// The fewest frames that it has held since `passed`. Fewer than that is progress, so between
    /// two steps of its cursor it can show as much progress as it has leases, and no more.
    held: usize,
}

/// A client that has made no progress for as long as the writer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lagging {
    pub(crate) id: ClientId,
    pub(crate) stalled: Duration,
    pub(crate) held: u32,
    pub(crate) behind: u64,
}

impl Client {
    pub(crate) fn new(id: ClientId, page: Arc<LeasePage>, identity: Identity) -> Client {
        let quota = Quota::of_leases(page.leases());
        Client {
            id,
            base: quota.leases,
            request: 0,
            wanted: Quota {
                backlog: quota.backlog.max(identity.backlog),
                ..quota
            },
            target: quota,
            granted: quota,
            most: quota.backlog,
            page,
            identity,
            passed: 0,
            woken: 0,
            stall: None,
            lagging: false,
            evicted: false,
        }
    }

    fn refresh(&mut self, head: u64) {
        self.passed = self.passed.max(self.page.words().position().min(head));
    }

    /// Whether the writer waits for this client where it waits at all.
    fn is_waited_for(&self) -> bool {
        self.identity.delivery == Delivery::InOrder && !self.lagging && !self.evicted
    }

    /// Looks whether it has made progress, and returns its standstill since then.
    fn watch(&mut self, now: Duration) -> Stall {
        let held = self.page.words().held().count();
        let (since, held) = match self.stall {
            Some(last) if last.passed == self.passed && held >= last.held => {
                (last.since, last.held)
            }
            _ => (now, held),
        };
        let passed = self.passed;
        *self.stall.insert(Stall {
            since,
            passed,
            held,
        })
    }
}

/// How many leases name the frame in each slot, as of the last scan.
///
/// Plain arrays of words: a scan looks at as many of them as there are leases, a search of the
/// slots at as many as there are slots, and neither at anything else.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// The frame that is in each slot, READY or retired and not yet free.
    frames: Vec<Option<FrameId>>,
    counts: Vec<u16>,
    /// The counts that stand in the slots' records.
    noted: Vec<u16>,
}

impl Holders {
    /// Sets which frame is in a slot.
    pub(crate) fn set_frame(&mut self, slot: SlotIndex, frame: Option<FrameId>) {
        let at = usize::from(slot.0);
        if self.frames.len() <= at {
            self.frames.resize(at + 1, None);
            self.counts.resize(at + 1, 0);
            self.noted.resize(at + 1, 0);
        }
        self.frames[at] = frame;
        self.counts[at] = 0;
        self.noted[at] = 0;
    }

    /// The frame in a slot.
    pub(crate) fn frame(&self, slot: SlotIndex) -> Option<FrameId> {
        self.frames.get(usize::from(slot.0)).copied().flatten()
    }

    /// How many leases named the slot's frame at the last scan.
    pub(crate) fn count(&self, slot: SlotIndex) -> u16 {
        self.counts[usize::from(slot.0)]
    }

    /// The slots whose count is another than the last time, and the count.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = (SlotIndex, u16)> {
        // Whole pieces are compared at once: mostly none has changed.
        const PIECE: usize = 64;
        let counts = self.counts.chunks(PIECE);
        let pieces = counts.zip(self.noted.chunks_mut(PIECE)).enumerate();
        let changed = pieces.filter(|(_, (counts, noted))| *counts != &noted[..]);
        changed.flat_map(|(piece, (counts, noted))| {
            let slots = counts.iter().zip(noted).enumerate();
            slots.filter_map(move |(at, (&count, noted))| {
                let slot = SlotIndex((piece * PIECE + at) as u16);
                (std::mem::replace(noted, count) != count).then_some((slot, count))
            })
        })
    }
}

/// The clients that are in the scan.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    list: Vec<Client>,
}

impl Clients {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.list.iter_mut()
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.list.iter().find(|client| client.id == id)
    }

    pub(crate) fn change(&mut self, id: ClientId, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.list.iter_mut().find(|client| client.id == id) {
            change(client);
        }
    }

    /// Clients that take no frames in memory of this kind, but for those that take no frames at all any
    /// more.
    pub(crate) fn refusing(&self, kind: MemoryKind) -> impl Iterator<Item = ClientId> {
        let refuses = move |client: &&Client| !client.identity.takes.takes(kind) && !client.evicted;
        self.list.iter().filter(refuses).map(|client| client.id)
    }

    /// Takes a client in, which receives the frame at `position` first.
    pub(crate) fn add(&mut self, mut client: Client, position: u64) {
        client.page.words().pass(position);
        client.passed = position;
        self.list.push(client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) {
        self.list.retain(|client| client.id != id);
    }

    pub(crate) fn evict(&mut self, id: ClientId) {
        for client in self.list.iter_mut().filter(|client| client.id == id) {
            client.evicted = true;
        }
    }

    /// Adds the clients to `sleepers` that have to be woken now that the frame at `position` is
    /// published.
    pub(crate) fn collect_sleepers(
        &mut self,
        position: u64,
        sleepers: &mut Vec<(ClientId, Arc<LeasePage>)>,
    ) {
        for client in self.list.iter_mut().filter(|client| !client.evicted) {
            if let Some(sleep) = client.page.words().must_wake(position, client.woken) {
                client.woken = sleep;
                sleepers.push((client.id, client.page.clone()));
            }
        }
    }

    /// Reads every client's leases: counts for each slot how many name its frame.
    pub(crate) fn scan(&self, holders: &mut Holders) {
        holders.counts.fill(0);
        for client in &self.list {
            for frame in client.page.words().held() {
                // Words of another process: they name a frame of ours, or have no effect.
                let slot = usize::from(frame.slot().0);
                if holders.frames.get(slot) == Some(&Some(frame)) {
                    holders.counts[slot] += 1;
                }
            }
        }
    }

    /// Whether a lease names the frame now.
    pub(crate) fn hold(&self, frame: FrameId) -> bool {
        self.list
            .iter()
            .any(|client| client.page.words().holds(frame))
    }

    /// The first position that a client may still come to; `head` without clients. A client that
    /// takes only the newest frame comes to no other.
    pub(crate) fn passed(&mut self, head: u64) -> u64 {
        let mut passed = head;
        for client in &mut self.list {
            client.refresh(head);
            if client.identity.delivery == Delivery::InOrder && !client.evicted {
                passed = passed.min(client.passed);
            }
        }
        passed
    }

    /// Whether a client that has yet to receive the frame at `position` lags no more than its backlog
    /// allows.
    pub(crate) fn count_on(&mut self, position: u64, head: u64) -> bool {
        self.list.iter_mut().any(|client| {
            client.refresh(head);
            let is_in_order = client.identity.delivery == Delivery::InOrder && !client.evicted;
            let lag = head.saturating_sub(client.passed);
            let backlog = client.granted.backlog.max(client.granted.leases);
            is_in_order && client.passed <= position && lag <= u64::from(backlog)
        })
    }

    /// Whether a client that the writer waits for has yet to receive the frame at `position`.
    pub(crate) fn await_frame(&mut self, position: u64, head: u64) -> bool {
        self.list
            .iter_mut()
            .filter(|client| client.is_waited_for())
            .any(|client| {
                client.refresh(head);
                client.passed <= position
            })
    }

    /// Of the clients that have yet to receive the frame at `position`: gives up waiting for those
    /// that have made no progress for `timeout`, and names them; else tells when the first of the
    /// others will come to that point.
    pub(crate) fn mark_lagging(
        &mut self,
        position: u64,
        head: u64,
        (now, timeout): (Duration, Duration),
    ) -> (Vec<Lagging>, Option<Duration>) {
        let (mut lagging, mut next) = (Vec::new(), None);
        for client in self.list.iter_mut().filter(|client| client.is_waited_for()) {
            client.refresh(head);
            if client.passed > position {
                continue;
            }
            let stall = client.watch(now);
            let until = stall.since.saturating_add(timeout);
            if until > now {
                next = Some(next.map_or(until, |next: Duration| next.min(until)));
                continue;
            }
            client.lagging = true;
            client.stall = None;
            lagging.push(Lagging {
                id: client.id,
                stalled: now.saturating_sub(stall.since),
                held: stall.held as u32,
                behind: head.saturating_sub(client.passed),
            });
        }
        (lagging, next)
    }

    /// Waits again for clients that have caught up, and names them.
    pub(crate) fn readmit(&mut self, head: u64) -> Vec<ClientId> {
        let mut caught_up = Vec::new();
        for client in self.list.iter_mut().filter(|client| client.lagging) {
            client.refresh(head);
            if client.passed == head {
                client.lagging = false;
                caught_up.push(client.id);
            }
        }
        caught_up
    }
}
