//! The group of frames that a client which joins begins with: from the newest sync point on.
//!
//! A client can make nothing of a dependent frame without the frames before it. So the pool keeps these,
//! for as long as they are few and young, and clients begin with them. Streams without dependent
//! frames cost a comparison a frame, and no slot.

use super::{Pool, Slot, early};
use crate::clients::Client;
use crate::message::Delivery;
use crate::meta::Role;
use crate::segment::MAX_SLOTS;

/// Groups after which it is looked whether they have become shorter.
const WINDOW: u32 = 8;
/// Most leading frames that are kept for the frame after them.
const MAX_LEAD: u64 = 64;
/// Slots beyond those of a group, at least: of the frames that come while a client reads it.
const SPARE: u32 = 8;

/// The newest group, and how long groups are.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// How long a group is kept, in milliseconds; 0 for not at all.
    kept_for: u64,
    /// The position of its first frame. All frames from there on are published, and none was taken back.
    start: Option<u64>,
    /// The first of the leading frames that were published last, none of which was taken back either.
    lead: Option<u64>,
    /// Leading frames that were published last are gone: a client can't begin with the next.
    has_lost_lead: bool,
    /// When it began, as in `BufferMeta::timestamp`.
    since: u64,
    /// Slots that a group needs.
    need: u32,
    /// The longest of the last groups, and how many these are.
    longest: u32,
    count: u32,
    /// Slots that are kept for it, as far as the limits allow.
    pub(super) target: u32,
}

impl Group {
    pub(super) fn new(kept_for: std::time::Duration) -> Group {
        Group {
            // Less than a millisecond is not nothing.
            kept_for: kept_for.as_nanos().div_ceil(1_000_000) as u64,
            ..Group::default()
        }
    }

    /// Takes a frame in that is published now. Says whether groups need another number of slots.
    pub(super) fn add(&mut self, position: u64, role: Role, now: u64) -> bool {
        if self.kept_for == 0 {
            return false;
        }
        match role {
            Role::SyncPoint => {
                let start = self.lead.take().unwrap_or(position);
                let is_whole = !std::mem::take(&mut self.has_lost_lead);
                let before = std::mem::replace(&mut self.start, is_whole.then_some(start));
                self.since = now;
                let length = before.map_or(0, |before| start - before);
                (self.need > 0 || length > 1) && self.end(length)
            }
            Role::Leading => {
                let lead = *self.lead.get_or_insert(position);
                if position - lead >= MAX_LEAD {
                    self.give_up();
                }
                self.grow(position, now)
            }
            Role::Dependent => {
                (self.lead, self.has_lost_lead) = (None, false);
                self.grow(position, now)
            }
        }
    }

    /// The group is longer by a frame.
    fn grow(&mut self, position: u64, now: u64) -> bool {
        let Some(start) = self.start else {
            return false;
        };
        let length = u32::try_from(position + 1 - start).unwrap_or(u32::MAX);
        if now.saturating_sub(self.since) > self.kept_for {
            self.start = None;
            self.longest = self.longest.max(length);
            return false;
        }
        if length < self.need {
            return false;
        }
        let need = needed(length);
        std::mem::replace(&mut self.need, need) != need
    }

    /// A group of this length has ended.
    fn end(&mut self, length: u64) -> bool {
        self.longest = self.longest.max(u32::try_from(length).unwrap_or(u32::MAX));
        self.count += 1;
        if self.count < WINDOW {
            return false;
        }
        let need = needed(self.longest).min(self.need);
        (self.longest, self.count) = (0, 0);
        std::mem::replace(&mut self.need, need) != need
    }

    /// Frames of the group are not there any more, or void.
    pub(super) fn give_up(&mut self) {
        self.has_lost_lead |= self.lead.is_some();
        (self.start, self.lead) = (None, None);
    }

    /// A frame is taken back.
    pub(super) fn lose(&mut self, position: u64) {
        if position >= self.first_kept() {
            self.give_up();
        }
    }

    /// The first position that is kept.
    pub(super) fn first_kept(&self) -> u64 {
        let first = |position: Option<u64>| position.unwrap_or(u64::MAX);
        first(self.start).min(first(self.lead))
    }
}

/// Slots that groups of this length need.
fn needed(length: u32) -> u32 {
    match length {
        0 | 1 => 0,
        _ => length.saturating_add(SPARE.max(length / 4)).min(MAX_SLOTS),
    }
}

impl Pool {
    /// Decides how many slots are kept for the newest group: the clients' leases come first.
    pub(super) fn assign_group(&mut self, most: u32) {
        let leases = self.clients.iter().map(|client| client.granted.leases);
        let left = most.saturating_sub(leases.sum());
        self.group.target = self.group.need.min(left);
    }

    /// The frame that a client begins with, where there is one for it.
    pub(super) fn first_for(&self, client: &Client) -> Option<&Slot> {
        let takes = |slot: &Slot| {
            let place = slot.place.as_ref();
            client.identity.takes_unsealed
                || !place.is_some_and(|one| one.segment.kind.is_unsealed())
        };
        // A client that takes the newest frame each time would skip the others.
        let start = self
            .group
            .start
            .filter(|_| client.identity.delivery == Delivery::InOrder);
        let length = start.map(|start| (self.head - start) as usize);
        if let Some(first) = length.and_then(|length| self.ready.len().checked_sub(length)) {
            let mut group = self.ready.range(first..).map(|&index| self.slot(index));
            let start = group
                .clone()
                .next()
                .filter(|slot| Some(slot.position) == self.group.start);
            if start.is_some() && group.all(takes) {
                return start;
            }
        }
        let newest = self.ready.back().map(|&index| self.slot(index));
        newest.filter(|slot| takes(slot))
    }

    /// Whether a frame is kept for the clients that join, and is not the newest one.
    pub(super) fn is_grouped(&self, position: u64) -> bool {
        position >= self.group.first_kept() && position + 1 < self.head
    }

    /// How many slots to add for it at once, beside those that are `coming`: one at least, where the
    /// limits allow that.
    pub(crate) fn group_growth(&self, coming: u32) -> u32 {
        let there = self.count() + coming;
        let left = self.slots_allowed(0).saturating_sub(there);
        let missing = self.missing().saturating_sub(coming).max(1);
        missing.min(left).min(early(self.slot_size).max(1))
    }

    /// Keeps no frames for clients that join, until the next sync point: there is no room for them.
    pub(crate) fn give_up_group(&mut self) {
        self.group.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn group(kept_for: Duration, roles: &[Role]) -> Group {
        let mut group = Group::new(kept_for);
        for (position, role) in roles.iter().enumerate() {
            group.add(position as u64, *role, 10 * position as u64);
        }
        group
    }

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    #[test]
    fn a_group_begins_with_the_newest_sync_point_and_what_leads_to_it() {
        for (roles, start) in [
            (&[S, D, D][..], Some(0)),
            (&[S, D, S, D], Some(2)),
            (&[S, D, L, L, S, D], Some(2)),
            (&[S, D, L, D, L, S], Some(4)),
            (&[S, D, L, D, D], Some(0)),
            (&[D, D, L], None),
            (&[S, S, S], Some(2)),
        ] {
            assert_eq!(group(1000 * MS, roles).start, start, "{roles:?}");
        }
    }

    #[test]
    fn a_stream_without_dependent_frames_needs_no_slots() {
        let mut group = Group::new(1000 * MS);
        for position in 0..1000 {
            assert!(!group.add(position, S, position));
        }
        assert_eq!((group.need, group.start), (0, Some(999)));
    }

    #[test]
    fn the_need_follows_the_length_of_groups() {
        let mut group = Group::new(1000 * MS);
        let mut position = 0;
        let mut changes = 0;
        let mut take = |group: &mut Group, groups: u32, length: u64| {
            for _ in 0..groups {
                for at in 0..length {
                    let role = if at == 0 { S } else { D };
                    changes += u32::from(group.add(position, role, position));
                    position += 1;
                }
            }
            std::mem::take(&mut changes)
        };
        assert!(
            take(&mut group, 1, 60) < 8,
            "each change costs the writer something"
        );
        let need = group.need;
        assert!((60..=100).contains(&need), "{need}");
        assert_eq!(take(&mut group, 20, 60), 0);
        take(&mut group, 2 * WINDOW + 1, 10);
        assert!((10..=20).contains(&group.need), "{}", group.need);
        take(&mut group, 2 * WINDOW + 1, 1);
        assert_eq!(group.need, 0);
    }

    #[test]
    fn a_group_is_kept_for_so_long_and_no_longer() {
        let roles = [S, D, D, D, D, D, D];
        assert_eq!(group(60 * MS, &roles).start, Some(0));
        assert_eq!(group(59 * MS, &roles).start, None);
        assert_eq!(group(Duration::from_nanos(1), &roles).start, None);
        assert_eq!(group(Duration::ZERO, &[S]).start, None);
        let mut group = group(59 * MS, &roles);
        group.add(7, S, 70);
        assert_eq!(group.start, Some(7));
    }

    #[test]
    fn a_group_of_which_a_frame_is_gone_is_none() {
        let mut group = group(1000 * MS, &[S, D, S, D]);
        group.lose(1);
        assert_eq!(group.start, Some(2));
        group.lose(2);
        assert_eq!(group.start, None);
        assert!(!group.add(4, D, 0));
        assert_eq!(group.start, None);
        // Nor is one whose header is gone.
        group.add(5, L, 0);
        group.lose(5);
        group.add(6, S, 0);
        assert_eq!(group.start, None);
        group.add(7, S, 0);
        assert_eq!(group.start, Some(7));
    }

    #[test]
    fn leading_frames_are_kept_for_the_next_and_few_of_them() {
        let mut group = group(1000 * MS, &[L, L]);
        assert_eq!((group.start, group.first_kept()), (None, 0));
        group.add(2, S, 0);
        assert_eq!(group.start, Some(0));
        for position in 3..4 + MAX_LEAD {
            group.add(position, L, 0);
        }
        assert_eq!((group.start, group.first_kept()), (None, u64::MAX));
    }
}
