//! Determines the pause between two connections. Pure.
//!
//! Without a pause, a producer that accepts clients and closes at once would keep each of them busy
//! with some thousand connections a second. After a connection that has brought frames, the next
//! one is made without a pause.

use std::time::{Duration, Instant};

/// A connection that lasted at least this long needs no pause after it.
const LASTING: Duration = Duration::from_secs(1);
/// The first pause. It is shorter than the start of a process.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The state of a source's connections that determines the next pause.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    /// When the current connection was made.
    since: Option<Instant>,
    has_brought_frames: bool,
    /// The number of short connections in a row.
    short: u32,
    /// The pause after the last short connection.
    pause: Duration,
    /// The end of the pause. A pause that was cancelled resumes when the source continues.
    not_before: Option<Instant>,
}

impl Reconnect {
    /// Notes that a connection was made.
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = Some(now);
        self.has_brought_frames = false;
        self.not_before = None;
    }

    /// Notes that the connection has brought a frame.
    pub(super) fn brought_frame(&mut self) {
        self.has_brought_frames = true;
    }

    /// Notes that the connection has ended.
    pub(super) fn ended(&mut self, now: Instant) {
        let lived = self.since.take().map(|since| now.duration_since(since));
        if lived.is_none_or(|lived| lived >= LASTING) {
            (self.short, self.pause) = (0, Duration::ZERO);
        } else {
            self.pause = match (self.has_brought_frames, self.short) {
                (true, 0) => Duration::ZERO,
                (true, _) => SHORTEST,
                (false, _) => (2 * self.pause).clamp(SHORTEST, LONGEST),
            };
            self.short = self.short.saturating_add(1);
        }
        self.not_before = Some(now + self.pause);
    }

    /// Returns the rest of the pause before the next connection.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let not_before = self.not_before.unwrap_or(now);
        not_before.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pauses after connections with these lifetimes, with frames or without.
    fn pauses(connections: &[(Duration, bool)]) -> Vec<u128> {
        let mut reconnect = Reconnect::default();
        let mut now = Instant::now();
        let pauses = connections.iter().map(|&(lives, has_frames)| {
            reconnect.connected(now);
            if has_frames {
                reconnect.brought_frame();
            }
            now += lives;
            reconnect.ended(now);
            let pause = reconnect.left(now);
            now += pause;
            assert_eq!(reconnect.left(now), Duration::ZERO);
            pause.as_millis()
        });
        pauses.collect()
    }

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_producer_that_brings_nothing_is_asked_less_and_less_often() {
        let expected = [20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
        assert_eq!(pauses(&[(SHORT, false); 9]), expected);
    }

    #[test]
    fn the_next_producer_after_one_with_frames_costs_no_wait() {
        assert_eq!(pauses(&[(SHORT, true)]), [0]);
        assert_eq!(pauses(&[(LASTING, true); 3]), [0; 3]);
        assert_eq!(pauses(&[(LASTING, false); 3]), [0; 3]);
        // The pauses in a row of them are no longer than the start of a process.
        assert_eq!(pauses(&[(SHORT, true); 4]), [0, 20, 20, 20]);
    }

    #[test]
    fn what_lasts_ends_the_row() {
        let connections = [
            (SHORT, false),
            (SHORT, false),
            (LASTING, false),
            (SHORT, false),
            (SHORT, true),
            (LASTING, true),
            (SHORT, true),
        ];
        assert_eq!(pauses(&connections), [20, 40, 0, 20, 20, 0, 0]);
    }

    #[test]
    fn a_pause_that_was_cancelled_is_not_over() {
        let mut reconnect = Reconnect::default();
        let now = Instant::now();
        reconnect.connected(now);
        reconnect.ended(now);
        let later = now + SHORTEST / 2;
        assert_eq!(reconnect.left(later), SHORTEST / 2);
        assert_eq!(reconnect.left(later), SHORTEST / 2);
    }
}
