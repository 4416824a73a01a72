//! Whether a producer is behind its own clock for good, so that its times are no measure: a filter that is
//! slower than the pictures come, for example. Not one that has stood still and catches up.

/// After so long without a frame, in nanoseconds, the next one shows no more than that.
const LONGEST: i64 = 250_000_000;

/// A producer that is less behind by so much, in nanoseconds, catches up.
const LESS: i64 = 500_000_000;

/// What the newest frames show, as long as all of them are over when they come.
#[derive(Debug, Default)]
pub(super) struct Late {
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When the last of them came: a running time.
    at: i64,
    /// The furthest that one was behind.
    furthest: i64,
    /// For how long they have come, the gaps between them left out.
    time: i64,
}

impl Late {
    /// Takes in the newest frame, which is over, at the running time `now`; `due` is its own. Tells whether such
    /// frames have come for as long as `patience`, in nanoseconds.
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

    /// The newest frame is not over.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1000 * MS;

    /// When frames that come as `frames` tell, with their own times and these, have shown that they are late.
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
        // It falls behind further, and the frames come as irregularly as they like.
        let slower = (0..100).map(|n| (n * 40 * MS - 40 * SECOND, n * 70 * MS + n % 3 * 20 * MS));
        assert!(late_at(slower).is_some_and(|at| at < SECOND + 100 * MS));
    }

    #[test]
    fn a_producer_that_catches_up_is_not_late() {
        // It has stood still for 10 s, and goes on twice as fast, or faster, until it is on time.
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
