//! Decides which requests for key units "as soon as possible" are sent upstream, and when. Pure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long to wait for a requested key unit before it can be requested again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long no key unit is requested after one that answered a request. A client that skips frames
/// requests one after each loss, and all clients pay for the larger key frames.
const INTERVAL: Duration = Duration::from_millis(500);

/// The requests of all clients. While one is not answered, it counts for all of them.
#[derive(Debug, Default)]
pub(super) struct KeyUnits {
    requests: Mutex<Requests>,
    /// A request is not answered yet.
    is_awaited: AtomicBool,
    /// The time of the last answer, in nanoseconds on `CLOCK_MONOTONIC`; 0 if there was none.
    answered: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    /// When the request that may not be answered yet was sent upstream, and whether it asked for
    /// all headers.
    sent: Option<(Duration, bool)>,
    /// The request that is sent when the interval is over, unless a key unit arrives earlier.
    deferred: Option<gst::Event>,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Send it upstream.
    Send,
    /// Drop it: the key unit for an earlier request answers this one, too.
    Drop,
    /// Send it upstream [when it is due](KeyUnits::take_due).
    Defer,
}

/// Returns whether an event requests all headers; `None` if it is no request, or a request for a
/// given running time.
fn request(event: &gst::EventRef) -> Option<bool> {
    let request = gst_video::UpstreamForceKeyUnitEvent::parse(event).ok()?;
    request
        .running_time
        .is_none()
        .then_some(request.all_headers)
}

impl KeyUnits {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a sync point was published.
    pub(super) fn answer(&self, now: impl FnOnce() -> Duration) {
        // Relaxed, as below: sending one request too many does no harm.
        if self.is_awaited.load(Ordering::Relaxed) {
            self.is_awaited.store(false, Ordering::Relaxed);
            let now = now().as_nanos() as u64;
            self.answered.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// Forgets the requests if they were answered.
    fn settle(&self, requests: &mut Requests) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            *requests = Requests::default();
        }
    }

    /// Returns how long no key unit may be requested from now on.
    fn rest_of_interval(&self, now: Duration) -> Duration {
        match self.answered.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            answered => INTERVAL.saturating_sub(now.saturating_sub(Duration::from_nanos(answered))),
        }
    }

    /// Decides what to do with an event.
    pub(super) fn decide(&self, event: &gst::Event, now: Duration) -> Decision {
        let Some(all_headers) = request(event) else {
            return Decision::Send;
        };
        let mut requests = self.requests();
        self.settle(&mut requests);
        let is_coming = |(since, has_headers): (Duration, bool)| {
            now.saturating_sub(since) < ANSWER_TIMEOUT && has_headers >= all_headers
        };
        if requests.sent.is_some_and(is_coming) {
            return Decision::Drop;
        }
        let decision = if requests.sent.is_none() && self.rest_of_interval(now) > Duration::ZERO {
            let before = requests.deferred.as_ref().and_then(|event| request(event));
            if before.is_none_or(|has_headers| all_headers && !has_headers) {
                requests.deferred = Some(event.clone());
            }
            Decision::Defer
        } else {
            *requests = Requests {
                sent: Some((now, all_headers)),
                deferred: None,
            };
            Decision::Send
        };
        self.is_awaited.store(true, Ordering::Relaxed);
        decision
    }

    /// Notes that upstream did not handle an event that was sent, so that the next request is sent.
    pub(super) fn refuse(&self, event: &gst::EventRef) {
        if request(event).is_some() {
            *self.requests() = Requests::default();
            self.is_awaited.store(false, Ordering::Relaxed);
        }
    }

    /// Returns how long a deferred request still has to wait, `None` if there is none.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        let mut requests = self.requests();
        self.settle(&mut requests);
        requests.deferred.as_ref()?;
        Some(self.rest_of_interval(now))
    }

    /// Takes the deferred request if it is due.
    pub(super) fn take_due(&self, now: Duration) -> Option<gst::Event> {
        let mut requests = self.requests();
        self.settle(&mut requests);
        match self.rest_of_interval(now) {
            Duration::ZERO => requests.deferred.take(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: bool = true;

    fn request(all_headers: bool) -> gst::Event {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder();
        event.all_headers(all_headers).build()
    }

    fn at(ms: u64) -> Duration {
        Duration::from_secs(10) + Duration::from_millis(ms)
    }

    #[test]
    fn one_request_counts_for_all_clients_until_it_is_answered() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let ask = |all_headers, ms| units.decide(&request(all_headers), at(ms));
        assert_eq!(ask(false, 0), Decision::Send);
        assert_eq!(ask(false, 10), Decision::Drop);
        assert_eq!(ask(HEADERS, 20), Decision::Send, "that is for more");
        assert_eq!(ask(HEADERS, 30), Decision::Drop);
        assert_eq!(ask(false, 1000), Decision::Drop);
        assert_eq!(ask(false, 1020), Decision::Send, "it takes too long");
        let later = gst_video::UpstreamForceKeyUnitEvent::builder();
        let later = later.running_time(gst::ClockTime::SECOND).build();
        let decision = units.decide(&later, at(1040));
        assert_eq!(decision, Decision::Send, "that is at another time");
    }

    #[test]
    fn after_an_answer_the_next_request_waits() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let ask = |all_headers, ms| units.decide(&request(all_headers), at(ms));
        let has_headers = |event: gst::Event| super::request(&event) == Some(HEADERS);
        units.answer(|| unreachable!("it answers nothing"));
        assert_eq!(ask(false, 0), Decision::Send);
        assert_eq!(units.rest(at(1)), None);
        units.answer(|| at(100));
        assert_eq!(ask(false, 110), Decision::Defer);
        assert_eq!(ask(HEADERS, 120), Decision::Defer);
        assert_eq!(ask(false, 130), Decision::Defer);
        assert_eq!(units.rest(at(140)), Some(Duration::from_millis(460)));
        assert!(units.take_due(at(599)).is_none());
        assert_eq!(units.rest(at(700)), Some(Duration::ZERO));
        assert!(units.take_due(at(700)).is_some_and(has_headers));
        assert_eq!(units.rest(at(700)), None);
        // It counts as sent upstream.
        assert_eq!(ask(HEADERS, 700), Decision::Send);
        units.answer(|| at(710));
        // A key unit that arrives by itself answers the deferred request.
        assert_eq!(ask(false, 720), Decision::Defer);
        units.answer(|| at(800));
        assert_eq!(units.rest(at(1300)), None);
        assert!(units.take_due(at(1300)).is_none());
        assert_eq!(ask(false, 1300), Decision::Send);
    }

    #[test]
    fn a_refused_request_does_not_answer_later_ones() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let other = gst::event::CustomUpstream::new(gst::Structure::new_empty("other"));
        for ms in [0, 10] {
            let asked = request(false);
            assert_eq!(units.decide(&asked, at(ms)), Decision::Send);
            units.refuse(&other);
            assert_eq!(units.decide(&asked, at(ms + 1)), Decision::Drop);
            units.refuse(&asked);
        }
    }
}
