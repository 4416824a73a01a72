//! Decides which frames can be decoded: after a loss, none before the next sync point. Pure.

use std::time::{Duration, Instant};

use xmem_core::Role;

/// The time after which a missing key unit is requested again. The request may have been lost, or
/// xmemsink may have dropped it because it followed another one too soon.
const REPEAT_AFTER: Duration = Duration::from_secs(2);

/// The time without a key frame after which the user is warned.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// Holds back frames that cannot be decoded.
#[derive(Debug)]
pub(super) struct Gate {
    /// Dependent frames are not pushed after a loss.
    holds_back: bool,
    /// A frame was lost that others may depend on, and no sync point has followed.
    has_lost: bool,
    /// When a key unit was last requested since the loss.
    requested: Option<Instant>,
    /// Whether key units are requested at all.
    requests: bool,
    /// When skipping began, and the number of frames skipped since.
    skipping: Option<(Instant, u64)>,
    /// The warning about a missing key frame was given.
    has_told: bool,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Push,
    /// Keep it until the next frames decide.
    Keep,
    /// Drop it, and what was kept before it: it cannot be decoded.
    Skip,
}

impl Gate {
    pub(super) fn new(holds_back: bool, requests: bool) -> Gate {
        Gate {
            holds_back,
            requests,
            has_lost: true,
            requested: None,
            skipping: None,
            has_told: false,
        }
    }

    /// Notes that the next frame does not follow the last one that was pushed.
    pub(super) fn lose(&mut self) {
        (self.has_lost, self.requested) = (true, None);
    }

    /// Decides about the next frame. Reads the clock only while frames are held back.
    pub(super) fn judge(&mut self, role: Role, now: impl FnOnce() -> Instant) -> Verdict {
        if !self.has_lost {
            return Verdict::Push;
        }
        let verdict = match role {
            Role::SyncPoint => {
                (self.has_lost, self.skipping) = (false, None);
                Verdict::Push
            }
            Role::Leading => Verdict::Keep,
            Role::Dependent => {
                let (_, count) = self.skipping.get_or_insert_with(|| (now(), 0));
                *count += 1;
                Verdict::Skip
            }
        };
        if self.holds_back {
            verdict
        } else {
            Verdict::Push
        }
    }

    /// Returns whether to request a key unit after the frame that was judged: once for each loss,
    /// and again while frames are held back.
    pub(super) fn is_due(&self, role: Role, now: impl FnOnce() -> Instant) -> bool {
        if !(self.requests && self.has_lost && role == Role::Dependent) {
            return false;
        }
        match self.requested {
            None => true,
            Some(at) => self.holds_back && now().saturating_duration_since(at) >= REPEAT_AFTER,
        }
    }

    /// Notes that a key unit was requested.
    pub(super) fn request(&mut self, now: Instant) {
        self.requested = Some(now);
    }

    /// Returns the number of skipped frames if no key frame has arrived for [`WARN_AFTER`]. Returns
    /// it once, because the user is warned once.
    pub(super) fn overdue(&mut self, now: impl FnOnce() -> Instant) -> Option<u64> {
        let (since, count) = self.skipping.filter(|_| self.holds_back)?;
        let is_overdue = now().saturating_duration_since(since) >= WARN_AFTER;
        (is_overdue && !std::mem::replace(&mut self.has_told, true)).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};
    use Verdict::{Keep, Push, Skip};

    /// The decisions for frames that arrive `ms` milliseconds apart, and the number of key units
    /// requested.
    fn judge_apart(gate: &mut Gate, roles: &[Role], ms: u64) -> (Vec<Verdict>, u32) {
        let mut requests = 0;
        let start = Instant::now();
        let verdicts = roles.iter().zip(0..).map(|(role, number)| {
            let now = start + Duration::from_millis(number * ms);
            let verdict = gate.judge(*role, || now);
            if gate.is_due(*role, || now) {
                requests += 1;
                gate.request(now);
            }
            verdict
        });
        (verdicts.collect(), requests)
    }

    fn judge(gate: &mut Gate, roles: &[Role]) -> (Vec<Verdict>, u32) {
        judge_apart(gate, roles, 1)
    }

    #[test]
    fn after_a_loss_no_dependent_frame_comes_before_a_sync_point() {
        let mut gate = Gate::new(true, true);
        let expected = [Skip, Skip, Keep, Skip, Keep, Push, Push, Push];
        assert_eq!(
            judge(&mut gate, &[D, D, L, D, L, S, D, L]),
            (expected.to_vec(), 1)
        );
        gate.lose();
        assert_eq!(
            judge(&mut gate, &[D, D, S, D]),
            (vec![Skip, Skip, Push, Push], 1)
        );
        gate.lose();
        assert_eq!(judge(&mut gate, &[S, D]), (vec![Push, Push], 0));
    }

    #[test]
    fn where_all_are_wanted_a_key_unit_is_requested_and_nothing_held_back() {
        let mut gate = Gate::new(false, true);
        assert_eq!(judge(&mut gate, &[D, L, D, S, D]), (vec![Push; 5], 1));
        let mut gate = Gate::new(true, false);
        assert_eq!(judge(&mut gate, &[D, S]), (vec![Skip, Push], 0));
    }

    #[test]
    fn a_key_unit_that_does_not_come_is_requested_again_while_frames_are_skipped() {
        let mut gate = Gate::new(true, true);
        assert_eq!(judge_apart(&mut gate, &[D; 70], 100), (vec![Skip; 70], 4));
        assert_eq!(judge_apart(&mut gate, &[S, D, D], 5000).1, 0);
        // An encoder without key frames refreshes the picture in parts, and each request would
        // disturb that.
        let mut gate = Gate::new(false, true);
        assert_eq!(judge_apart(&mut gate, &[D; 70], 100), (vec![Push; 70], 1));
    }

    #[test]
    fn the_user_is_told_once_that_no_key_frame_comes() {
        for (holds_back, expected) in [(true, Some(50)), (false, None)] {
            let mut gate = Gate::new(holds_back, true);
            let start = Instant::now();
            let told = (0..200).filter_map(|number| {
                let now = start + Duration::from_millis(number * 101);
                gate.judge(D, || now);
                gate.overdue(|| now)
            });
            assert_eq!(
                told.collect::<Vec<_>>(),
                Vec::from_iter(expected.map(|n: u64| n + 1))
            );
        }
        // Each wait is timed separately.
        let mut gate = Gate::new(true, true);
        let start = Instant::now();
        for number in 0..10 {
            let now = start + Duration::from_secs(number);
            gate.judge(if number % 4 == 0 { S } else { D }, || now);
            assert_eq!(gate.overdue(|| now), None);
            gate.lose();
        }
    }
}
