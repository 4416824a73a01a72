//! Determines how many frames the source asks its producer to keep, and how much latency these
//! cover. Pure.
//!
//! A pipeline that shows frames `L` after their time has `L / D` of them under way, where `D` is
//! the duration of a frame. They are in its queues, where they are leased, or still unread in the
//! channel, while the streaming thread waits in a sink. So the backlog follows from the configured
//! latency and the duration of frames, and the number of leases follows from the number of buffers
//! that downstream holds.

use std::time::Duration;

use xmem_core::{BufferMeta, Grant, MAX_LEASES, Quota};

mod peak;

use peak::Peak;

use crate::timestamps::milliseconds;

/// The initial and minimum number of leases of a source.
const FIRST_LEASES: u32 = 4;
/// How late a frame may be received beyond the latency, because a thread was not scheduled or a
/// producer publishes several frames at once. After a reconnect or a switch, 50 ms were one frame
/// too few at 120 frames a second on two processors.
const JITTER: Duration = Duration::from_millis(100);
/// Frames beyond those that the latency and the jitter need: one is being written, one was just
/// received.
const SPARE: u32 = 4;
/// The maximum backlog that is requested.
const MAX_BACKLOG: u32 = 2048;
/// How many frames in a row must have a longer duration before fewer frames are kept.
const LONGER_IN_A_ROW: u32 = 32;

/// The knowledge of a source about its stream and its pipeline.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How many frames downstream may hold without a copy; `None` for no limit.
    max_leases: Option<u32>,
    /// Whether to request one more lease, for frames that are copied.
    has_spare_lease: bool,
    /// Only the newest frame is requested.
    is_latest: bool,
    /// The latency with which the pipeline was configured.
    latency: Duration,
    /// The duration of a frame.
    duration: Option<Duration>,
    /// `duration` is that of the previous producer.
    is_guess: bool,
    /// Position and time of the previous frame.
    last: Option<(u64, Option<Duration>)>,
    /// The number of frames in a row with a longer duration.
    longer: u32,
    /// The maximum number of frames within the latency, used if the caps have no frame rate.
    peak: Peak,
    /// The number of frames to request because of the latency.
    frames: u32,
    /// The number of leases to request.
    leases: u32,
    /// The last grant of the producer.
    grant: Option<Grant>,
}

impl Plan {
    /// Returns the plan of a source whose downstream may hold `max_leases` frames (0: no limit).
    /// With `copies` it receives copies of further frames.
    pub(super) fn new(max_leases: u32, copies: bool, is_latest: bool) -> Plan {
        let max_leases = (max_leases > 0).then_some(max_leases);
        Plan {
            max_leases,
            has_spare_lease: copies,
            is_latest,
            latency: Duration::ZERO,
            duration: None,
            is_guess: false,
            last: None,
            longer: 0,
            peak: Peak::default(),
            frames: 0,
            leases: max_leases.unwrap_or(FIRST_LEASES),
            grant: None,
        }
    }

    /// The number of leases to request, including the one for copies.
    fn wanted_leases(&self) -> u32 {
        (self.leases + u32::from(self.has_spare_lease)).min(MAX_LEASES)
    }

    /// Prepares for a connection to another producer, whose frames may have another duration.
    /// Downstream is the same, so what it needs is requested again. Returns the number of leases to
    /// connect with.
    pub(super) fn reconnect(&mut self) -> u32 {
        self.is_guess = self.duration.is_some();
        (self.last, self.longer) = (None, 0);
        (self.peak, self.grant) = (Peak::default(), None);
        let first = self.max_leases.unwrap_or(FIRST_LEASES);
        (first + u32::from(self.has_spare_lease)).min(MAX_LEASES)
    }

    /// Returns whether downstream is known to need more than the initial quota.
    pub(super) fn has_grown(&self) -> bool {
        self.frames > 0 || self.leases > self.max_leases.unwrap_or(FIRST_LEASES)
    }

    /// The quota to request now.
    pub(super) fn wanted(&self) -> Quota {
        let leases = self.wanted_leases();
        // Frames that downstream holds may be older than the latency, so they count, too.
        let gathered = if self.leases > FIRST_LEASES {
            leases + self.frames_in(JITTER)
        } else {
            leases
        };
        let backlog = if self.is_latest {
            0
        } else {
            self.frames.max(gathered).min(MAX_BACKLOG)
        };
        Quota { leases, backlog }
    }

    /// Returns the number of frames that are published within a time, by their duration.
    fn frames_in(&self, time: Duration) -> u32 {
        let Some(duration) = self.duration else {
            return 0;
        };
        let frames = time.as_nanos().div_ceil(duration.as_nanos());
        u32::try_from(frames).unwrap_or(MAX_BACKLOG)
    }

    /// Determines how many frames the latency needs. Returns whether the number has changed.
    fn count(&mut self) -> bool {
        let steady = self.frames_in(self.latency + JITTER);
        let frames = match self.peak.most() {
            most if most > steady + steady / 4 + 1 => most + most / 4,
            _ => steady,
        };
        let frames = frames.saturating_add(SPARE).min(MAX_BACKLOG);
        // Not for a few frames less, which may be needed again soon.
        let has_changed = frames > self.frames || frames < self.frames / 2;
        if has_changed {
            self.frames = frames;
        }
        has_changed
    }

    /// Sets the latency with which the pipeline was configured. Returns whether to request another
    /// quota.
    pub(super) fn set_latency(&mut self, latency: Duration) -> bool {
        let is_other = std::mem::replace(&mut self.latency, latency) != latency;
        if is_other {
            (self.peak, self.frames) = (Peak::default(), 0);
        }
        is_other && self.duration.is_some() && self.count()
    }

    /// Notes that a frame was received. Returns whether to request another quota.
    pub(super) fn take_frame(&mut self, frame: &BufferMeta, by_caps: Option<Duration>) -> bool {
        let has_learned = self.learn(frame, by_caps);
        if by_caps.is_none() {
            let within = self.latency + JITTER;
            let published = milliseconds(frame.timestamp());
            self.peak.add((frame.seq(), published), within);
        } else if !has_learned {
            return false;
        }
        self.count()
    }

    /// Learns the duration of frames from a frame, if the caps have none. Returns whether it has
    /// changed.
    fn learn(&mut self, frame: &BufferMeta, by_caps: Option<Duration>) -> bool {
        let time = frame.stream_dts().or(frame.stream_pts());
        let last = self.last.replace((frame.seq(), time));
        let last = last.filter(|last| last.0 + 1 == frame.seq());
        let since = last.and_then(|last| Some(time?.abs_diff(last.1?)));
        let own = frame.duration();
        let possible = |duration: &Duration| !duration.is_zero();
        let found = by_caps.or(own.filter(possible)).or(since);
        let Some(found) = found.filter(possible) else {
            return false;
        };
        let known = match self.duration {
            Some(known) if !std::mem::take(&mut self.is_guess) => known,
            before => {
                self.duration = Some(found);
                return before != Some(found);
            }
        };
        // Differences of some tens of microseconds come from rounded timestamps.
        if found > known + known / 16 {
            self.longer += 1;
            if self.longer < LONGER_IN_A_ROW {
                return false;
            }
        } else if found + known / 16 >= known {
            self.longer = 0;
            return false;
        }
        self.longer = 0;
        self.duration = Some(found);
        true
    }

    /// Notes that `free` leases are left. Returns whether to request more.
    pub(super) fn note_free_leases(&mut self, free: u32) -> bool {
        let Some(grant) = self.grant.filter(|_| self.max_leases.is_none()) else {
            return false;
        };
        let has = grant.quota.leases;
        // Only after the last request was answered.
        if free > (has / 4).max(2) || has < self.wanted_leases() || has >= MAX_LEASES {
            return false;
        }
        // The latency of the pipeline has priority. What downstream holds beyond that may be
        // unbounded, so it gets at most half of what the producer has.
        let most = if self.leases < self.frames {
            self.frames
        } else {
            grant.most / 2
        };
        let most = most.min(MAX_LEASES - 1);
        let leases = (2 * self.leases).min(most).max(self.leases);
        std::mem::replace(&mut self.leases, leases) != leases
    }

    /// Returns whether leases that were requested may still be granted.
    pub(super) fn may_grow(&self) -> bool {
        let has = self.grant.map_or(0, |grant| grant.quota.leases);
        self.max_leases.is_none() && has < self.wanted_leases()
    }

    /// Notes a grant of the producer. Returns whether the covered latency has changed.
    pub(super) fn take_grant(&mut self, grant: Grant) -> bool {
        let before = self.covered();
        self.grant = Some(grant);
        // The previous producer may have had more.
        if self.max_leases.is_none() {
            self.leases = self.leases.min(grant.most.max(FIRST_LEASES));
        }
        self.covered() != before
    }

    /// Returns the longest time that a frame can be held before it is shown. `None` if it is not
    /// known or not limited.
    pub(super) fn covered(&self) -> Option<Duration> {
        let grant = self.grant.filter(|_| !self.is_latest)?;
        Some(self.duration? * grant.most.saturating_sub(1))
    }

    /// Returns the reason for a missed frame, with advice.
    pub(super) fn why_missed(&self) -> String {
        let wanted = self.wanted();
        let has = self.grant.map_or(0, |grant| grant.quota.backlog);
        if has < wanted.backlog && !self.is_latest {
            let latency = self.latency.as_millis();
            return format!(
                "the pipeline's latency of {latency} ms needs a backlog of {} frames, but the \
                 producer grants {has}: raise max-bytes (and max-buffers, if set) of xmemsink",
                wanted.backlog
            );
        }
        let kept = self.duration.map(|duration| duration * has);
        let kept = kept.map(|kept| format!(" ({} ms)", kept.as_millis()));
        format!(
            "downstream took no buffer while {has} frames{} arrived: make it faster, put a queue \
             behind xmemsrc, or set delivery=latest to skip to the newest frame",
            kept.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::record::received;

    fn frame(seq: u64, duration: u64) -> BufferMeta {
        let mut frame = BufferMeta::bytes(1);
        frame.set_duration(Some(Duration::from_nanos(duration)));
        frame.set_stream_pts(Some(Duration::from_nanos(seq * duration)));
        received(frame, seq, 0)
    }

    const MS: u64 = 1_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn grant(leases: u32, most: u32) -> Grant {
        let quota = Quota {
            leases,
            backlog: most,
        };
        Grant { quota, most }
    }

    /// Adds a frame that was published when it was due.
    fn take(plan: &mut Plan, seq: u64, duration: u64) -> bool {
        let frame = received(frame(seq, duration * MS), seq, 1_000_000 + seq * duration);
        plan.take_frame(&frame, None)
    }

    #[test]
    fn the_backlog_follows_from_latency_and_duration() {
        for (latency, duration, expected) in [
            (200, 33, 10 + SPARE),
            (500, 16, 38 + SPARE),
            (500, 8, 75 + SPARE),
            (500, 1, 600 + SPARE),
            (500, 20, 30 + SPARE),
            (0, 40, 3 + SPARE),
        ] {
            let mut plan = Plan::new(0, true, false);
            assert!(take(&mut plan, 0, duration));
            assert_eq!(plan.set_latency(ms(latency)), latency > 0);
            for at in 1..=latency / duration {
                take(&mut plan, at, duration);
            }
            assert_eq!(
                plan.wanted().backlog,
                expected,
                "{latency} ms of {duration} ms"
            );
            assert_eq!(plan.wanted().leases, FIRST_LEASES + 1);
        }
    }

    #[test]
    fn durations_are_learned_from_timestamps() {
        let mut plan = Plan::new(0, true, false);
        let untold = |seq: u64, pts: u64| {
            let mut frame = frame(seq, 1);
            frame.set_duration(None);
            frame.set_stream_pts(Some(Duration::from_nanos(pts * MS)));
            frame
        };
        assert!(!plan.learn(&untold(0, 0), None));
        assert!(plan.learn(&untold(1, 40), None));
        assert!(!plan.learn(&untold(2, 80), None));
        // A frame was missed, so the difference of the timestamps is no duration.
        assert!(!plan.learn(&untold(4, 81), None));
        // A shorter duration is used at once, a longer one after some frames.
        assert!(plan.learn(&untold(5, 91), None));
        let slower = |at: u64| untold(5 + at, 91 + 40 * at);
        let changes = (1..100).filter(|&at| plan.learn(&slower(at), None));
        assert_eq!(changes.collect::<Vec<_>>(), [u64::from(LONGER_IN_A_ROW)]);
        // The duration in the caps takes precedence.
        assert!(plan.learn(&untold(200, 0), Some(ms(10))));
    }

    #[test]
    fn leases_grow_with_what_downstream_holds() {
        let mut plan = Plan::new(0, true, false);
        take(&mut plan, 0, 20);
        assert!(!plan.note_free_leases(0), "nothing was granted yet");
        plan.take_grant(grant(5, 100));
        assert!(!plan.note_free_leases(4));
        assert!(plan.note_free_leases(2));
        // As many as the latency needs, and one for copies.
        assert_eq!(plan.wanted().leases, 9);
        assert!(!plan.note_free_leases(0), "the answer has yet to come");
        plan.take_grant(grant(9, 100));
        for _ in 0..10 {
            plan.note_free_leases(0);
            plan.take_grant(grant(plan.wanted().leases, 100));
        }
        assert_eq!(plan.wanted().leases, 51);
        let mut fixed = Plan::new(4, false, false);
        fixed.take_grant(grant(4, 100));
        assert!(!fixed.note_free_leases(0));
        assert_eq!(fixed.wanted().leases, 4);
    }

    #[test]
    fn what_is_covered_is_what_can_be_kept() {
        let mut plan = Plan::new(0, true, false);
        assert_eq!(plan.covered(), None);
        take(&mut plan, 0, 20);
        assert!(plan.take_grant(grant(5, 11)));
        assert_eq!(plan.covered(), Some(ms(200)));
        assert!(!plan.take_grant(grant(5, 11)));
        let mut latest = Plan::new(0, true, true);
        take(&mut latest, 0, 20);
        latest.take_grant(grant(5, 11));
        assert_eq!((latest.covered(), latest.wanted().backlog), (None, 0));
    }
}
