//! Forwards upstream events of clients to the elements upstream of the sink.
//!
//! An element can take any length of time to handle an event, so a dedicated thread pushes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use gst::prelude::*;
use gst_base::BaseSink;
use xmem_core::monotonic_time;

use super::key_units::{Decision, KeyUnits};
use crate::events::upstream::{self, UpstreamEvents};
use crate::log::CAT;
use crate::timestamps::Timekeeper;
use crate::values::{Names, Told};
use crate::worker::Worker;

/// The user id of a client, and an encoded event from it.
type Sent = (u32, Vec<u8>);

/// Pushes events of clients upstream, on a thread that ends with the run of the sink.
pub(super) struct Forwarder {
    sink: glib::WeakRef<BaseSink>,
    accepts: UpstreamEvents,
    worker: Worker<Sent>,
    is_over: Arc<AtomicBool>,
    pub(super) key_units: Arc<KeyUnits>,
}

impl Drop for Forwarder {
    /// Drops the events that are still queued.
    fn drop(&mut self) {
        // Relaxed: no other data depends on it.
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Forwarder {
    pub(super) fn new(sink: &BaseSink, accepts: UpstreamEvents) -> Forwarder {
        Forwarder {
            sink: sink.downgrade(),
            accepts,
            worker: Worker::new("xmem-upstream"),
            is_over: Arc::default(),
            key_units: Arc::default(),
        }
    }

    /// Queues an event of a client of this user, without waiting.
    pub(super) fn forward(&self, uid: u32, content: Vec<u8>) {
        let run = || {
            let (sink, accepts) = (self.sink.clone(), self.accepts);
            let (is_over, key_units) = (self.is_over.clone(), self.key_units.clone());
            move |contents| run(&sink, accepts, (&is_over, &key_units), &contents)
        };
        if let Err(why) = self.worker.send((uid, content), run) {
            gst::debug!(CAT, "Lost an upstream event: {why:?}");
        }
    }
}

fn run(
    sink: &glib::WeakRef<BaseSink>,
    accepts: UpstreamEvents,
    (is_over, key_units): (&AtomicBool, &KeyUnits),
    contents: &Receiver<Sent>,
) {
    let mut timekeeper = Timekeeper::default();
    loop {
        let received = match key_units.rest(monotonic_time()) {
            Some(rest) => contents.recv_timeout(rest),
            None => contents.recv().map_err(RecvTimeoutError::from),
        };
        if let Err(RecvTimeoutError::Disconnected) = received {
            return;
        }
        let Some(sink) = sink.upgrade() else { return };
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let event = match received {
            Ok((uid, content)) => {
                let offset = timekeeper.offset(&sink);
                upstream::decode(Told::new(&content, Names::of_user(uid)), offset)
            }
            Err(_) => match key_units.take_due(monotonic_time()) {
                Some(event) => Ok(event),
                None => continue,
            },
        };
        match event {
            Ok(event) if upstream::which(&event).is_some_and(|which| accepts.contains(which)) => {
                push(&sink, key_units, event);
            }
            other => gst::debug!(CAT, obj = sink, "Dropped an upstream event: {other:?}"),
        }
    }
}

fn push(sink: &BaseSink, key_units: &KeyUnits, event: gst::Event) {
    match key_units.decide(&event, monotonic_time()) {
        Decision::Defer => gst::debug!(
            CAT,
            obj = sink,
            "Deferred a request that came too soon: {event:?}"
        ),
        Decision::Drop => gst::debug!(
            CAT,
            obj = sink,
            "Dropped a request that is pending already: {event:?}"
        ),
        Decision::Send => {
            gst::debug!(
                CAT,
                obj = sink,
                "Pushing a client's event upstream: {event:?}"
            );
            let pad = sink.static_pad("sink");
            let handled = pad.is_some_and(|pad| pad.push_event(event.clone()));
            gst::debug!(CAT, obj = sink, "Upstream handled the event: {handled}");
            if !handled {
                key_units.refuse(&event);
            }
        }
    }
}
