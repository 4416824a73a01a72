//! The owner of the bytes of a memory: a slot and its state, or a received frame.

use std::sync::{Mutex, MutexGuard, PoisonError};

use xmem_core::{Frame, FrameMut, PublishedSlot, QueuedSlot};

/// The owner of the bytes of an `XmemMemory`.
pub(crate) enum Content {
    /// A slot of this process's publisher.
    Slot(SlotCell),
    /// A received frame, read-only. Dropping it gives the lease back.
    Frame(#[expect(dead_code, reason = "held for its drop")] Frame),
}

/// A slot and its state.
pub(crate) struct SlotCell(Mutex<SlotState>);

enum SlotState {
    /// Upstream may write the slot.
    Writable(FrameMut),
    /// Clients and upstream may read the slot.
    Published(#[expect(dead_code, reason = "held for its drop")] Held),
    /// The sink is publishing the slot, or it was taken back.
    Publishing,
}

/// A slot that was published, and stays out of use until this is dropped.
#[expect(
    clippy::large_enum_variant,
    reason = "a slot's state is as large in any case"
)]
pub(crate) enum Held {
    Published(#[expect(dead_code, reason = "held for its drop")] PublishedSlot),
    /// It is published when a device has written it.
    Queued(#[expect(dead_code, reason = "held for its drop")] QueuedSlot),
}

impl SlotCell {
    /// A slot that upstream may write.
    pub(in crate::memory) fn new(frame: FrameMut) -> SlotCell {
        SlotCell(Mutex::new(SlotState::Writable(frame)))
    }

    /// Publishes the slot with `publish` if it can still be written. Returns the result of
    /// `publish`, or `None` if the slot was published before.
    pub(crate) fn publish<E>(
        &self,
        publish: impl FnOnce(FrameMut) -> Result<Held, (Box<FrameMut>, E)>,
    ) -> Option<Result<(), E>> {
        // Not under the lock: publishing may wait. The memory cannot be written meanwhile.
        let taken = std::mem::replace(&mut *self.lock(), SlotState::Publishing);
        let (next, result) = match taken {
            SlotState::Writable(frame) => match publish(frame) {
                Ok(published) => (SlotState::Published(published), Some(Ok(()))),
                Err((frame, error)) => (SlotState::Writable(*frame), Some(Err(error))),
            },
            other => (other, None),
        };
        *self.lock() = next;
        result
    }

    /// Takes the slot back, if it was not published. It can't be published or written any more.
    pub(in crate::memory) fn take(&self) -> Option<FrameMut> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, SlotState::Publishing) {
            SlotState::Writable(frame) => Some(frame),
            other => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        matches!(*self.lock(), SlotState::Writable(_))
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
