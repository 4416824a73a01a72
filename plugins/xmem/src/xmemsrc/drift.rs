//! Follows a clock that drifts against this pipeline's clock, by adjusting the timestamps of
//! buffers. Pure.
//!
//! The input is the error of each frame: the difference between its running time and the point at
//! which it should be shown. The error is noisy, because reading a clock is, so it is followed
//! slowly. A jump is not drift.

/// Errors up to this are not followed, in nanoseconds.
const DEAD_BAND: u64 = 50_000;
/// Errors up to this are followed slowly, in nanoseconds.
const NEAR: u64 = 1_000_000;
/// The limit for a change of the adjustment: 1/200 of the time that passes in the stream. A clock
/// is off by 1/1000 at worst, so two clocks together by 1/500; noise of 1 ms is not noticeable.
const NEAR_PART: u64 = 200;
/// The limit for errors larger than [`NEAR`]: 1/20. With it, frames that are decoded up to 16
/// frames before they are shown stay in order.
const FAR_PART: u64 = 20;
/// A larger error is a jump and not drift, in nanoseconds.
pub(super) const STEP: u64 = 40_000_000;

/// The adjustment of the running times of a producer's frames, since the segment that was pushed
/// last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    /// In nanoseconds.
    adjustment: i64,
    /// The latest position of the stream so far, in nanoseconds of running time.
    furthest: Option<i64>,
}

impl Drift {
    /// Returns a drift without an adjustment, for a stream that has reached this running time.
    pub(super) fn from(at: i64) -> Drift {
        Drift {
            adjustment: 0,
            furthest: Some(at),
        }
    }

    /// Returns the number of nanoseconds that is added to running times.
    pub(super) fn adjustment(&self) -> i64 {
        self.adjustment
    }

    /// Follows the unadjusted error of the frame at the running time `at`. Returns false if the
    /// error is a step and not drift.
    #[must_use]
    pub(super) fn follow(&mut self, error: i64, at: i64) -> bool {
        let left = error.saturating_sub(self.adjustment);
        if left.unsigned_abs() > STEP {
            return false;
        }
        let furthest = self.furthest.map_or(at, |furthest| furthest.max(at));
        let passed = self.furthest.map_or(0, |before| furthest.abs_diff(before));
        self.furthest = Some(furthest);
        let part = if left.unsigned_abs() > NEAR {
            FAR_PART
        } else {
            NEAR_PART
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

    /// Returns the remaining errors after each of these errors was followed, for frames that are
    /// `apart` nanoseconds apart.
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
                // Some reads of the clock were disturbed.
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
            // Timestamps do not go back in the meantime.
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
