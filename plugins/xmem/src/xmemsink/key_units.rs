//! Requests for key units as soon as possible: which of them are passed on, and when. Pure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a key unit that was requested is waited for before it is requested once more.
const ANSWERED: Duration = Duration::from_secs(1);

/// How long no other is requested after one that was requested. A client that skips frames asks after each of these, and
/// all clients pay for the key frames.
const INTERVAL: Duration = Duration::from_millis(500);

/// While a request is not answered, it is the request of all clients.
#[derive(Debug, Default)]
pub(super) struct KeyUnits {
    requests: Mutex<Requests>,
    /// A key unit answers something.
    is_awaited: AtomicBool,
    /// When the last request was answered, in nanoseconds on `CLOCK_MONOTONIC`; 0 for never.
    answered: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    /// When one was passed on that may not be answered yet, and whether it was for all headers.
    passed_on: Option<(Duration, bool)>,
    /// What is passed on when the interval is over, unless a key unit comes before that.
    put_off: Option<gst::Event>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is passed on.
    None,
    /// The answer to an earlier request is one to this event, too.
    IsComing,
    /// It is passed on [when it is due](KeyUnits::take_due).
    Later,
}

/// Whether an event is a request, and for all headers. One at a time of its own is none.
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

    /// A frame was published that needs no other.
    pub(super) fn answer(&self, now: impl FnOnce() -> Duration) {
        // Relaxed, as below: a request that is passed on once too often does no harm.
        if self.is_awaited.load(Ordering::Relaxed) {
            self.is_awaited.store(false, Ordering::Relaxed);
            let now = now().as_nanos() as u64;
            self.answered.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// Forgets what was answered.
    fn settle(&self, requests: &mut Requests) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            *requests = Requests::default();
        }
    }

    /// How long no key unit is requested from now on.
    fn rest_of_interval(&self, now: Duration) -> Duration {
        match self.answered.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            answered => INTERVAL.saturating_sub(now.saturating_sub(Duration::from_nanos(answered))),
        }
    }

    /// What becomes of an event.
    pub(super) fn answer_to(&self, event: &gst::Event, now: Duration) -> Answer {
        let Some(all_headers) = request(event) else {
            return Answer::None;
        };
        let mut requests = self.requests();
        self.settle(&mut requests);
        let is_coming = |(since, has_headers): (Duration, bool)| {
            now.saturating_sub(since) < ANSWERED && has_headers >= all_headers
        };
        if requests.passed_on.is_some_and(is_coming) {
            return Answer::IsComing;
        }
        let answer = if requests.passed_on.is_none() && self.rest_of_interval(now) > Duration::ZERO
        {
            let before = requests.put_off.as_ref().and_then(|event| request(event));
            if before.is_none_or(|has_headers| all_headers && !has_headers) {
                requests.put_off = Some(event.clone());
            }
            Answer::Later
        } else {
            *requests = Requests {
                passed_on: Some((now, all_headers)),
                put_off: None,
            };
            Answer::None
        };
        self.is_awaited.store(true, Ordering::Relaxed);
        answer
    }

    /// Upstream does not do what an event asks that was passed on: the next one is passed on.
    pub(super) fn refuse(&self, event: &gst::EventRef) {
        if request(event).is_some() {
            *self.requests() = Requests::default();
            self.is_awaited.store(false, Ordering::Relaxed);
        }
    }

    /// How long a request has to wait that was put off; `None` where there is none.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        let mut requests = self.requests();
        self.settle(&mut requests);
        requests.put_off.as_ref()?;
        Some(self.rest_of_interval(now))
    }

    /// The request that was put off until now.
    pub(super) fn take_due(&self, now: Duration) -> Option<gst::Event> {
        let mut requests = self.requests();
        self.settle(&mut requests);
        match self.rest_of_interval(now) {
            Duration::ZERO => requests.put_off.take(),
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
    fn one_request_is_that_of_all_until_it_is_answered() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let ask = |all_headers, ms| units.answer_to(&request(all_headers), at(ms));
        assert_eq!(ask(false, 0), Answer::None);
        assert_eq!(ask(false, 10), Answer::IsComing);
        assert_eq!(ask(HEADERS, 20), Answer::None, "that is for more");
        assert_eq!(ask(HEADERS, 30), Answer::IsComing);
        assert_eq!(ask(false, 1000), Answer::IsComing);
        assert_eq!(ask(false, 1020), Answer::None, "it takes too long");
        let later = gst_video::UpstreamForceKeyUnitEvent::builder();
        let later = later.running_time(gst::ClockTime::SECOND).build();
        let answer = units.answer_to(&later, at(1040));
        assert_eq!(answer, Answer::None, "that is at another time");
    }

    #[test]
    fn after_an_answer_the_next_request_waits() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let ask = |all_headers, ms| units.answer_to(&request(all_headers), at(ms));
        let has_headers = |event: gst::Event| super::request(&event) == Some(HEADERS);
        units.answer(|| unreachable!("it answers nothing"));
        assert_eq!(ask(false, 0), Answer::None);
        assert_eq!(units.rest(at(1)), None);
        units.answer(|| at(100));
        assert_eq!(ask(false, 110), Answer::Later);
        assert_eq!(ask(HEADERS, 120), Answer::Later);
        assert_eq!(ask(false, 130), Answer::Later);
        assert_eq!(units.rest(at(140)), Some(Duration::from_millis(460)));
        assert!(units.take_due(at(599)).is_none());
        assert_eq!(units.rest(at(700)), Some(Duration::ZERO));
        assert!(units.take_due(at(700)).is_some_and(has_headers));
        assert_eq!(units.rest(at(700)), None);
        // It is passed on as others are.
        assert_eq!(ask(HEADERS, 700), Answer::None);
        units.answer(|| at(710));
        // A key unit that comes of itself answers what was put off.
        assert_eq!(ask(false, 720), Answer::Later);
        units.answer(|| at(800));
        assert_eq!(units.rest(at(1300)), None);
        assert!(units.take_due(at(1300)).is_none());
        assert_eq!(ask(false, 1300), Answer::None);
    }

    #[test]
    fn a_request_that_upstream_refuses_is_none_of_later_ones() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let other = gst::event::CustomUpstream::new(gst::Structure::new_empty("other"));
        for ms in [0, 10] {
            let asked = request(false);
            assert_eq!(units.answer_to(&asked, at(ms)), Answer::None);
            units.refuse(&other);
            assert_eq!(units.answer_to(&asked, at(ms + 1)), Answer::IsComing);
            units.refuse(&asked);
        }
    }
}
