//! How a stream follows a clock that drifts against this pipeline's: by its buffers' timestamps. Pure.
//!
//! What is known is the error of each frame: how far its running time is from where it belongs. That is
//! noisy, as a look at a clock is, so it is followed slowly. A jump is no drift.

/// An error that is followed no further, in nanoseconds.
const DEAD_BAND: u64 = 50_000;
/// An error up to which the stream goes on quietly, in nanoseconds.
const NEAR: u64 = 1_000_000;
/// The part of the time that passes in the stream by which the adjustment changes, at most: 1 of so
/// many. A clock is off by 1 of 1000 at worst, so both may be, and noise of 1 ms is not seen.
const NEAR_PART: u64 = 200;
/// The same for errors that are larger. With 20, frames that are decoded up to 16 frames before they are
/// shown stay in their order.
const FAR_PART: u64 = 20;
/// An error that is no drift, in nanoseconds: something has jumped.
pub(super) const STEP: u64 = 40_000_000;

/// What the running times of a producer's frames are adjusted by, of the segment that was pushed last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    /// In nanoseconds.
    adjustment: i64,
    /// The furthest that the stream has come, in nanoseconds of running time.
    furthest: Option<i64>,
}

impl Drift {
    /// No drift yet, where the stream has come so far.
    pub(super) fn from(at: i64) -> Drift {
        Drift {
            adjustment: 0,
            furthest: Some(at),
        }
    }

    /// What is added to running times, in nanoseconds.
    pub(super) fn adjustment(&self) -> i64 {
        self.adjustment
    }

    /// Follows the error that the frame at the running time `at` has without an adjustment. False where
    /// that is a step, and no drift.
    #[must_use]
    pub(super) fn follow(&mut self, error: i64, at: i64) -> bool {
        let left = error.saturating_sub(self.adjustment);
        if left.unsigned_abs() > STEP {
            return false;
        }
        let furthest = self.furthest.map_or(at, |furthest| furthest.max(at));
        let passed = self.furthest.map_or(0, |before| furthest.abs_diff(before));
        self.furthest = Some(furthest);
        let part = match left.unsigned_abs() > NEAR {
            true => FAR_PART,
            false => NEAR_PART,
        };
        let beyond = left.unsigned_abs().saturating_sub(DEAD_BAND);
        let change = beyond.min(passed / part) as i64;
        self.adjustment += change * left.signum();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1000 * MS;

    /// The errors that are left of those that frames have, `apart` from each other.
    fn left(drift: &mut Drift, apart: i64, errors: impl Iterator<Item = i64>) -> Vec<i64> {
        let start = drift.furthest.unwrap_or(0);
        let left = errors.enumerate().map(|(number, error)| {
            let followed = drift.follow(error, start + number as i64 * apart);
            assert!(followed, "{error} at frame {number} is taken for a step");
            error - drift.adjustment()
        });
        left.collect()
    }

    #[test]
    fn clocks_that_do_not_drift_are_left_alone() {
        let mut drift = Drift::default();
        let noise = (0..10_000).map(|n| (n % 7 - 3) * 10_000);
        left(&mut drift, 20 * MS, noise);
        assert_eq!(drift.adjustment(), 0);
    }

    #[test]
    fn ten_minutes_of_drift_are_followed_without_a_step() {
        for ppm in [-2000, -1000, -100, -30, 30, 100, 1000, 2000] {
            for apart in [MS, 10 * MS, 33_333_333, SECOND] {
                let mut drift = Drift::default();
                let frames = 600 * SECOND / apart;
                // With a look now and then that was disturbed.
                let disturbed = |n: i64| if n % 97 == 96 { MS / 2 } else { 0 };
                let errors = (0..frames).map(|n| n * apart / 1_000_000 * ppm + disturbed(n));
                for (n, left) in left(&mut drift, apart, errors).into_iter().enumerate() {
                    let left = left - disturbed(n as i64);
                    assert!(left.abs() < MS, "{left} of {ppm} ppm, {apart} apart");
                }
                let drifted = (frames - 1) * apart / 1_000_000 * ppm;
                assert!((drift.adjustment() - drifted).abs() < MS);
            }
        }
    }

    #[test]
    fn a_small_jump_is_caught_up_with_in_a_second_or_so() {
        for jump in [-39 * MS, -5 * MS, 5 * MS, 39 * MS] {
            let mut drift = Drift::from(0);
            let left = left(&mut drift, 20 * MS, (0..60).map(|_| jump));
            assert!(left[59].abs() <= DEAD_BAND as i64, "{left:?}");
            // Time does not go back meanwhile.
            let steps = left.windows(2).map(|pair| pair[0] - pair[1]);
            assert!(steps.into_iter().all(|step| step.abs() <= MS), "{left:?}");
        }
    }

    #[test]
    fn a_jump_is_a_step_however_far_the_drift_has_come() {
        let mut drift = Drift::default();
        left(&mut drift, 20 * MS, (0..30_000).map(|n| n * 20_000));
        assert!(drift.adjustment() > 500 * MS);
        let at = drift.adjustment();
        for jump in [-41 * MS, 41 * MS, i64::MIN, i64::MAX] {
            assert!(!drift.follow(at.saturating_add(jump), 600 * SECOND));
        }
        assert!(drift.follow(at + 39 * MS, 600 * SECOND));
    }

    #[test]
    fn frames_that_do_not_advance_change_nothing() {
        let mut drift = Drift::from(SECOND);
        for at in [SECOND, 0, SECOND / 2, -SECOND, SECOND, i64::MIN] {
            assert!(drift.follow(30 * MS, at));
        }
        assert_eq!(drift.adjustment(), 0);
        assert!(drift.follow(30 * MS, i64::MAX));
    }
}
