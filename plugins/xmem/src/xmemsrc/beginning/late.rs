//! Detects a producer that is permanently behind its own clock, so that its times cannot be used.
//! An example is a filter that is slower than the frame rate. A producer that stood still and
//! catches up is not detected.

/// The part of a gap between two frames that counts, at most, in nanoseconds.
const LONGEST: i64 = 250_000_000;

/// A producer whose delay has decreased by this much is catching up. In nanoseconds.
const LESS: i64 = 500_000_000;

/// The delays of the newest frames, while all of them are over when they arrive.
#[derive(Debug, Default)]
pub(super) struct Late {
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The running time at which the last of them arrived.
    at: i64,
    /// The longest delay of one of them.
    furthest: i64,
    /// How long frames that are over have been arriving, with gaps limited to [`LONGEST`].
    time: i64,
}

impl Late {
    /// Notes the newest frame, which is over. `now` is the current running time and `due` that of
    /// the frame. Returns whether frames that are over have been arriving for `patience`
    /// nanoseconds.
    pub(super) fn take_in(&mut self, due: i64, now: i64, patience: i64) -> bool {
        let behind = now.saturating_sub(due);
        let begun = Seen {
            at: now,
            furthest: behind,
            time: 0,
        };
        let seen = match self.seen {
            Some(seen) if behind > seen.furthest.saturating_sub(LESS) => Seen {
                at: now,
                furthest: behind.max(seen.furthest),
                time: seen.time + now.saturating_sub(seen.at).clamp(0, LONGEST),
            },
            _ => begun,
        };
        self.seen = Some(seen);
        let is_late = seen.time >= patience;
        if is_late {
            self.forget();
        }
        is_late
    }

    /// Notes that the newest frame is not over.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1000 * MS;

    /// Returns when frames that arrive as in `frames`, pairs of their own time and the current
    /// time, are detected as late.
    fn late_at(frames: impl Iterator<Item = (i64, i64)>) -> Option<i64> {
        let mut late = Late::default();
        let mut frames = frames;
        let found = frames.find(|(due, now)| late.take_in(*due, *now, SECOND));
        found.map(|(_, now)| now)
    }

    #[test]
    fn a_producer_that_stays_behind_is_late() {
        let by = |behind, interval| (0..100).map(move |n| (n * interval - behind, n * interval));
        assert_eq!(late_at(by(40 * SECOND, 40 * MS)), Some(SECOND));
        assert_eq!(late_at(by(40 * SECOND, 2 * SECOND)), Some(8 * SECOND));
        // The delay grows, and the frames arrive irregularly.
        let slower = (0..100).map(|n| (n * 40 * MS - 40 * SECOND, n * 70 * MS + n % 3 * 20 * MS));
        assert!(late_at(slower).is_some_and(|at| at < SECOND + 100 * MS));
    }

    #[test]
    fn a_producer_that_catches_up_is_not_late() {
        // It stood still for 10 s, and continues at double speed, or faster, until it is on time.
        for pace in [2, 5, 100] {
            let first = (-4 * SECOND, 0);
            let behind = (1..)
                .map(|n| (n * 40 * MS - 4 * SECOND, 6 * SECOND + n * 40 * MS / pace))
                .take_while(|(due, now)| due < now);
            assert_eq!(
                late_at(std::iter::once(first).chain(behind)),
                None,
                "{pace}"
            );
        }
    }

    #[test]
    fn no_time_makes_it_panic() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        let mut late = Late::default();
        for due in numbers {
            for now in numbers {
                late.take_in(due, now, i64::MAX);
            }
        }
    }
}
