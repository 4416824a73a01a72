//! The slots that are kept for the newest group, and the frame that a client begins with.

use super::Pool;
use super::filling::early;
use super::group::SPARE;
use super::slot::Published;
use crate::clients::Client;
use crate::message::Delivery;

impl Pool {
    /// Decides how many slots are kept for the newest group: the clients' leases come first. None where
    /// a group does not fit into what is left.
    pub(super) fn assign_group(&mut self, most: u32) {
        let leases = self.clients.iter().map(|client| client.target.leases);
        let left = most.saturating_sub(leases.sum());
        self.group.target = if length_of(self.group.need) < left {
            self.group.need.min(left)
        } else {
            0
        };
    }

    /// The frame that a client begins with, where there is one for it.
    pub(super) fn first_for(&self, client: &Client) -> Option<&Published> {
        let takes = |frame: &&Published| {
            let segment = &frame.memory.place().segment;
            client.identity.takes.takes(segment.kind())
        };
        // A client that takes the newest frame each time would skip the others.
        let start = self
            .group
            .start
            .or(self.group.lead)
            .filter(|_| client.identity.delivery == Delivery::InOrder);
        let length = start.map(|start| (self.head - start) as usize);
        if let Some(first) = length.and_then(|length| self.ready.len().checked_sub(length)) {
            let frames = self.ready.range(first..);
            let mut group = frames.filter_map(|&index| self.slot(index).published());
            let first = group.clone().next();
            let first = first.filter(|frame| Some(frame.position) == start);
            if first.is_some() && group.all(|frame| takes(&frame)) {
                return first;
            }
        }
        let newest = self.ready.back();
        let newest = newest.and_then(|&index| self.slot(index).published());
        newest.filter(takes)
    }

    /// Whether a frame is kept for the clients that join, and is not the newest one.
    pub(super) fn is_grouped(&self, position: u64) -> bool {
        position >= self.group.first_kept() && position + 1 < self.head
    }

    /// How many slots to add for it at once, beside those that are `coming`: one at least, where the
    /// limits allow that and it can fit.
    pub(crate) fn group_growth(&self, coming: u32) -> u32 {
        if self.group.target == 0 && self.group.need > 0 {
            return 0;
        }
        let there = self.count() + coming;
        let left = self.slots_allowed(0).saturating_sub(there);
        // Each segment costs the producer and its clients a descriptor.
        let some = SPARE.max(there / 4);
        let missing = self.missing().saturating_sub(coming).max(some);
        missing.min(left).min(early(self.slot_size).max(1))
    }

    /// Keeps no frames for clients that join, until the next sync point: there is no room for them.
    pub(crate) fn give_up_group(&mut self) {
        self.group.give_up();
    }
}

/// The shortest groups that need so many.
fn length_of(need: u32) -> u32 {
    need.saturating_sub(SPARE).min(need / 5 * 4)
}
