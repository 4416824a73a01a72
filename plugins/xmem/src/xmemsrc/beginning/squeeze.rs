//! Moves times from before the start into a short time after it, and keeps their order.

/// The factor by which times are squeezed.
const SQUEEZE: i64 = 16;

/// The longest time into which they are squeezed, in nanoseconds, however old the frames are.
pub(super) const LONGEST: i64 = 100_000_000;

/// Frames older than this, in nanoseconds, are squeezed by a larger factor.
const REACH: i64 = SQUEEZE * LONGEST;

/// Squeezes times, in nanoseconds since the start.
pub(super) struct Squeeze {
    /// The age of the first of them; zero if none is from before the start.
    age: i64,
}

impl Squeeze {
    pub(super) fn new(first: i64) -> Squeeze {
        Squeeze {
            age: first.saturating_neg().max(0),
        }
    }

    /// The part of the age that is squeezed by [`SQUEEZE`].
    fn reach(&self) -> i64 {
        self.age.min(REACH)
    }

    /// From this time on times are not changed.
    pub(super) fn end(&self) -> i64 {
        self.reach() / (SQUEEZE - 1)
    }

    pub(super) fn of(&self, time: i64) -> i64 {
        if time >= self.end() {
            return time;
        }
        if time >= 0 || self.age <= REACH {
            return time.saturating_add(self.reach()).max(0) / SQUEEZE;
        }
        // A group of pictures is short, but its age may be hours. So the first times get the most
        // room, and later times less and less. No two times become equal.
        let part = |time: i64| (time.max(0) as f64 / REACH as f64).ln_1p();
        let since_first = time.saturating_add(self.age);
        (LONGEST as f64 * part(since_first) / part(self.age)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1000 * MS;

    #[test]
    fn what_is_over_takes_a_moment_however_old_it_is() {
        for age in [1, 60, 600, 100_000] {
            let squeeze = Squeeze::new(-age * SECOND);
            let mut last = -1;
            let times = (-age * 50..50).map(|frame| frame * 20 * MS);
            for time in times {
                let moved = squeeze.of(time);
                assert!(moved > last, "{time} of {age} s: {moved} after {last}");
                assert!(time >= 0 || moved <= LONGEST, "{time} of {age} s: {moved}");
                assert!(time < 0 || (time..=time + LONGEST).contains(&moved));
                assert!(time < 107 * MS || moved == time);
                last = moved;
            }
        }
    }

    #[test]
    fn a_short_group_that_is_old_keeps_some_room() {
        // Containers count in fractions of a millisecond; MPEG-TS in steps of 11 us.
        for age in [60, 600, 86_400] {
            let squeeze = Squeeze::new(-age * SECOND);
            for frame in 0..60 {
                let [one, next] =
                    [frame, frame + 1].map(|frame| squeeze.of(-age * SECOND + frame * SECOND / 30));
                assert!(next - one > 50_000, "{} of {age} s", next - one);
            }
        }
    }

    #[test]
    fn no_time_makes_it_panic() {
        for first in [i64::MIN, -1, 0, i64::MAX] {
            for time in [i64::MIN, -1, 0, 1, i64::MAX] {
                Squeeze::new(first).of(time);
            }
        }
    }
}
