//! Frames and events in the stream's order, and where a client begins.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::slot::{Published, Slot};
use super::{JoinPoint, Place, Pool};
use crate::clients::{Client, ClientId, Lagging};
use crate::event::EventKind;
use crate::lease::{FrameId, SlotIndex};
use crate::meta::BufferMeta;
use crate::segment::LeasePage;
use crate::sys::clock;

impl Pool {
    /// Makes what was written known as the next frame. Completes `meta`, tells the frame's position and
    /// whether another number of slots is needed from now on, and adds the clients to `sleepers` that
    /// have to be woken.
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
        if let Some(place) = &spill {
            self.leave_hand(place.segment.id);
        }
        let entry = self.entry_mut(index);
        let Slot::Writing(memory) = std::mem::take(&mut entry.slot) else {
            unreachable!("a slot is published once, by the FrameMut that has acquired it");
        };
        entry.generation = entry.generation.next();
        let frame = FrameId::new(index, entry.generation);
        entry.slot = Slot::Ready(Published {
            memory,
            spill,
            position,
            event: meta.event,
            is_held: true,
        });
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
        match &mut self.entry_mut(index).slot {
            Slot::Writing(_) => self.make_free(index),
            Slot::Ready(frame) | Slot::Pinned(frame) => frame.is_held = false,
            Slot::Vacant | Slot::Free(_) => {}
        }
    }

    // ---- clients

    /// Takes a client in. It gets the newest group at once, or the newest frame, where it takes memory
    /// of that kind, then the next ones.
    pub(crate) fn add_client(&mut self, client: Client) -> JoinPoint {
        let joined = self.log.last();
        let (position, event) = match self.first_for(&client) {
            Some(frame) => (frame.position, frame.event),
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
        match oldest.and_then(|index| self.position(index)) {
            Some(position) => self
                .clients
                .mark_lagging(position, self.head, (now, timeout)),
            None => (Vec::new(), None),
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
            let slots = self.slots.iter().map(|entry| &entry.slot);
            let frames = slots.filter_map(Slot::published);
            frames.map(|frame| frame.event).collect()
        };
        let memory = memory.map(Arc::new);
        if kind == EventKind::Flush {
            // The frames before it are void.
            self.group.give_up();
        }
        self.log.push(self.head, kind, content, memory, in_use);
    }
}
