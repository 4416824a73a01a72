//! The group of frames that a client which joins begins with: from the newest sync point on.
//!
//! A client can make nothing of a dependent frame without the frames before it. So the pool keeps these,
//! for as long as they are few and young, and clients begin with them. Streams without dependent
//! frames cost a comparison a frame, and no slot.

use std::time::Duration;

use crate::meta::Role;
use crate::segment::MAX_SLOTS;

/// Groups after which it is looked whether they have become shorter.
const WINDOW: u32 = 8;
/// Most leading frames that are kept for the frame after them.
const MAX_LEAD: u64 = 64;
/// Slots beyond those of a group, at least: of the frames that come while a client reads it.
pub(super) const SPARE: u32 = 8;

/// The newest group, and how long groups are.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// How long a group is kept; zero for not at all.
    kept_for: Duration,
    /// The position of its first frame. All frames from there on are published, and none was taken back.
    pub(super) start: Option<u64>,
    /// The first of the leading frames that were published last, none of which was taken back either.
    pub(super) lead: Option<u64>,
    /// Leading frames that were published last are gone: a client can't begin with the next.
    has_lost_lead: bool,
    /// When it began, on `CLOCK_MONOTONIC`. A stream without a dependent frame so far has no
    /// use for it.
    since: Option<Duration>,
    /// Frames of it.
    length: u32,
    /// Slots that a group needs.
    pub(super) need: u32,
    /// The longest of the last groups, and how many of these have ended whole.
    longest: u32,
    count: u32,
    /// Slots that are kept for it, as far as the limits allow.
    pub(super) target: u32,
}

impl Group {
    pub(super) fn new(kept_for: Duration) -> Group {
        Group {
            kept_for,
            ..Group::default()
        }
    }

    /// Takes a frame in that is published now, at the time that `now` tells. Says whether groups need
    /// another number of slots.
    pub(super) fn add(
        &mut self,
        position: u64,
        role: Role,
        now: impl FnOnce() -> Duration,
    ) -> bool {
        if self.kept_for.is_zero() {
            return false;
        }
        match role {
            Role::SyncPoint => {
                let start = self.lead.take().unwrap_or(position);
                let is_whole = !std::mem::take(&mut self.has_lost_lead);
                let before = std::mem::replace(&mut self.start, is_whole.then_some(start));
                self.since = (self.need > 0).then(now);
                self.length = 1;
                // One that was given up tells of no length that would do.
                let length = before.map_or(0, |before| start - before);
                length > 0 && (self.need > 0 || length > 1) && self.end(length)
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
    fn grow(&mut self, position: u64, now: impl FnOnce() -> Duration) -> bool {
        if self.start.is_none() && self.need == 0 {
            return false;
        }
        let now = now();
        let age = now.saturating_sub(*self.since.get_or_insert(now));
        let Some(start) = self.start else {
            // A stream whose sync points have ceased.
            let has_ceased = age > self.kept_for.saturating_mul(WINDOW);
            return has_ceased && self.set_need(0);
        };
        self.length = u32::try_from(position + 1 - start).unwrap_or(u32::MAX);
        if age > self.kept_for {
            self.longest = self.longest.max(self.length);
            self.start = None;
            return false;
        }
        self.length >= self.need && self.set_need(needed(self.length))
    }

    fn set_need(&mut self, need: u32) -> bool {
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
        self.set_need(need)
    }

    /// Frames of the group are not there any more, or void.
    pub(super) fn give_up(&mut self) {
        self.has_lost_lead |= self.lead.is_some();
        if self.start.is_some() {
            self.longest = self.longest.max(self.length);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn add(group: &mut Group, position: u64, role: Role, milliseconds: u64) -> bool {
        group.add(position, role, || Duration::from_millis(milliseconds))
    }

    fn group(kept_for: Duration, roles: &[Role]) -> Group {
        let mut group = Group::new(kept_for);
        for (position, role) in roles.iter().enumerate() {
            add(&mut group, position as u64, *role, 10 * position as u64);
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
            assert!(!add(&mut group, position, S, position));
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
                    changes += u32::from(add(group, position, role, position));
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
    fn groups_that_were_lost_say_nothing_of_how_short_groups_are() {
        let mut group = group(1000 * MS, &[S, D, D, D, D, D, D, D, D, D]);
        let need = group.need;
        for start in 1..4 * u64::from(WINDOW) {
            add(&mut group, 10 * start, S, 0);
            add(&mut group, 10 * start + 1, D, 0);
            group.give_up();
        }
        assert_eq!(group.need, need);
    }

    #[test]
    fn nothing_is_kept_for_sync_points_that_have_ceased() {
        let mut group = group(100 * MS, &[S, D, D, D, D, D]);
        let need = group.need;
        assert!(need > 0);
        add(&mut group, 6, D, 200);
        assert_eq!((group.start, group.need), (None, need));
        assert!(!add(&mut group, 7, D, 800));
        assert!(add(&mut group, 8, D, 900));
        assert_eq!(group.need, 0);
    }

    #[test]
    fn a_group_is_kept_for_so_long_and_no_longer() {
        let roles = [S, D, D, D, D, D, D];
        // Since the first frame that depends on another.
        assert_eq!(group(50 * MS, &roles).start, Some(0));
        assert_eq!(group(49 * MS, &roles).start, None);
        assert_eq!(group(Duration::from_nanos(1), &roles).start, None);
        assert_eq!(group(Duration::ZERO, &[S]).start, None);
        assert_eq!(group(Duration::MAX, &roles).start, Some(0));
        let mut group = group(49 * MS, &roles);
        add(&mut group, 7, S, 70);
        assert_eq!(group.start, Some(7));
    }

    #[test]
    fn a_group_of_which_a_frame_is_gone_is_none() {
        let mut group = group(1000 * MS, &[S, D, S, D]);
        group.lose(1);
        assert_eq!(group.start, Some(2));
        group.lose(2);
        assert_eq!(group.start, None);
        assert!(!add(&mut group, 4, D, 0));
        assert_eq!(group.start, None);
        // Nor is one whose header is gone.
        add(&mut group, 5, L, 0);
        group.lose(5);
        add(&mut group, 6, S, 0);
        assert_eq!(group.start, None);
        add(&mut group, 7, S, 0);
        assert_eq!(group.start, Some(7));
    }

    #[test]
    fn leading_frames_are_kept_for_the_next_and_few_of_them() {
        let mut group = group(1000 * MS, &[L, L]);
        assert_eq!((group.start, group.first_kept()), (None, 0));
        add(&mut group, 2, S, 0);
        assert_eq!(group.start, Some(0));
        for position in 3..4 + MAX_LEAD {
            add(&mut group, position, L, 0);
        }
        assert_eq!((group.start, group.first_kept()), (None, u64::MAX));
    }
}
