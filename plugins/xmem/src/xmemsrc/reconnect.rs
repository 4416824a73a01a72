//! How long to wait between two connections. Pure.
//!
//! Without a pause, a producer that lets clients in and goes at once keeps each of them busy with
//! some thousand connections a second. The next producer after one that had frames costs no wait.

use std::time::{Duration, Instant};

/// A connection that lived so long is followed by the next one at once.
const LASTING: Duration = Duration::from_secs(1);
/// The first pause. Shorter than a process takes to start.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest.
const LONGEST: Duration = Duration::from_secs(1);

/// The connections of a source, as far as the pause before the next one depends on them.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    /// Of the connection that there is.
    since: Option<Instant>,
    has_brought_frames: bool,
    /// Connections that lived short, in a row.
    short: u32,
    /// The pause after the last of them.
    pause: Duration,
    /// A pause that was cancelled is waited for to its end where the source goes on.
    not_before: Option<Instant>,
}

impl Reconnect {
    /// There is a connection from now on.
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = Some(now);
        self.has_brought_frames = false;
        self.not_before = None;
    }

    /// The connection has brought a frame.
    pub(super) fn brought_frame(&mut self) {
        self.has_brought_frames = true;
    }

    /// The connection has ended.
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

    /// What is left of the pause before the next connection.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let not_before = self.not_before.unwrap_or(now);
        not_before.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after connections that each live so long, with frames or without.
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
        // Nor does a row of them cost more than a process takes to start.
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
