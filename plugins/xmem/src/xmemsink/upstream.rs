//! Upstream events of clients, on their way to the elements before the sink.
//!
//! Those may take as long as they like to handle one, so a thread of its own passes them on, and not
//! the one that sees to the clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;

use crate::CAT;
use crate::events::upstream::{self, UpstreamEvents};
use crate::timestamps::Timekeeper;
use crate::values::{Names, Told};

/// Most events that wait to be passed on; what is more is lost.
const MAX_WAITING: usize = 64;

/// How long a key unit that was requested is waited for before it is requested once more.
const ANSWERED: Duration = Duration::from_secs(1);

/// Requests for key units as soon as possible. While one is not answered, it is the request of all clients.
#[derive(Debug, Default)]
pub(super) struct KeyUnits {
    /// When one was passed on that was not answered, in nanoseconds on `CLOCK_MONOTONIC`; 0 for none.
    since: AtomicU64,
    /// It was one for all headers.
    is_for_headers: AtomicBool,
}

impl KeyUnits {
    /// A frame was published that needs no other.
    pub(super) fn answer(&self) {
        // Relaxed, as below: a request that is passed on once too often does no harm.
        if self.since.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the answer to an earlier request is one to this event, too. Else it is waited for from now on.
    fn covers(&self, event: &gst::EventRef, now: Duration) -> bool {
        let Ok(request) = gst_video::UpstreamForceKeyUnitEvent::parse(event) else {
            return false;
        };
        if request.running_time.is_some() {
            // At a time of its own.
            return false;
        }
        let now = now.as_nanos() as u64;
        let since = self.since.load(Ordering::Relaxed);
        let is_waited_for = since != 0 && now.saturating_sub(since) < ANSWERED.as_nanos() as u64;
        let has_headers = self.is_for_headers.load(Ordering::Relaxed);
        if is_waited_for && has_headers >= request.all_headers {
            return true;
        }
        self.is_for_headers
            .store(request.all_headers, Ordering::Relaxed);
        self.since.store(now.max(1), Ordering::Relaxed);
        false
    }
}

/// Passes on what clients say. The thread is there from the first such event to the end of the run.
pub(super) struct Forwarder {
    sink: glib::WeakRef<super::XmemSink>,
    accepts: UpstreamEvents,
    sender: OnceLock<SyncSender<(u32, Vec<u8>)>>,
    is_over: Arc<AtomicBool>,
    pub(super) key_units: Arc<KeyUnits>,
}

impl Drop for Forwarder {
    /// What waits is not for the next run.
    fn drop(&mut self) {
        // Relaxed: nothing else is read because of it.
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Forwarder {
    pub(super) fn new(sink: &super::XmemSink, accepts: UpstreamEvents) -> Forwarder {
        Forwarder {
            sink: sink.downgrade(),
            accepts,
            sender: OnceLock::new(),
            is_over: Arc::default(),
            key_units: Arc::default(),
        }
    }

    /// Takes what a client of this user has said. Never waits.
    pub(super) fn forward(&self, uid: u32, content: Vec<u8>) {
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let (sink, accepts) = (self.sink.clone(), self.accepts);
            let (is_over, key_units) = (self.is_over.clone(), self.key_units.clone());
            let thread = std::thread::Builder::new().name("xmem-upstream".into());
            if let Err(error) = thread.spawn(move || {
                let over = (&*is_over, &*key_units);
                run(&sink, accepts, over, &receiver);
            }) {
                gst::warning!(CAT, "Upstream events are lost, there is no thread: {error}");
            }
            sender
        });
        if sender.try_send((uid, content)).is_err() {
            gst::debug!(CAT, "An upstream event is lost: too many wait");
        }
    }
}

fn run(
    sink: &glib::WeakRef<super::XmemSink>,
    accepts: UpstreamEvents,
    (is_over, key_units): (&AtomicBool, &KeyUnits),
    contents: &Receiver<(u32, Vec<u8>)>,
) {
    let mut timekeeper = Timekeeper::default();
    for (uid, content) in contents {
        let Some(sink) = sink.upgrade() else { return };
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let offset = timekeeper.offset(&sink);
        let content = Told::new(&content, Names::of_user(uid));
        match upstream::decode(content, offset) {
            Ok(event) if upstream::which(&event).is_some_and(|which| accepts.contains(which)) => {
                if key_units.covers(&event, xmem_core::monotonic_time()) {
                    gst::debug!(CAT, obj = sink, "Requested already: {event:?}");
                    continue;
                }
                gst::debug!(CAT, obj = sink, "A client wants {event:?}");
                let pad = sink.static_pad("sink");
                let handled = pad.is_some_and(|pad| pad.push_event(event));
                gst::debug!(CAT, obj = sink, "Upstream has handled it: {handled}");
            }
            other => gst::debug!(CAT, obj = sink, "Not passed on: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(all_headers: bool) -> gst::Event {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder();
        event.all_headers(all_headers).build()
    }

    #[test]
    fn one_request_is_that_of_all_until_it_is_answered() {
        gst::init().unwrap();
        let units = KeyUnits::default();
        let at = Duration::from_millis;
        assert!(!units.covers(&request(false), at(0)));
        assert!(units.covers(&request(false), at(10)));
        assert!(!units.covers(&request(true), at(20)), "that is for more");
        assert!(units.covers(&request(true), at(30)));
        assert!(units.covers(&request(false), at(1000)));
        assert!(
            !units.covers(&request(false), at(1020)),
            "it takes too long"
        );
        units.answer();
        assert!(!units.covers(&request(false), at(1030)));
        let later = gst_video::UpstreamForceKeyUnitEvent::builder();
        let later = later.running_time(gst::ClockTime::SECOND).build();
        assert!(!units.covers(&later, at(1040)), "that is at another time");
    }
}
