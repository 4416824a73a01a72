//! Upstream events of clients, on their way to the elements before the sink.
//!
//! Those may take as long as they like to handle one, so a thread of its own passes them on, and not
//! the one that sees to the clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use gst::glib;
use gst::prelude::*;
use xmem_core::monotonic_time;

use super::key_units::{Answer, KeyUnits};
use crate::CAT;
use crate::events::upstream::{self, UpstreamEvents};
use crate::timestamps::Timekeeper;
use crate::values::{Names, Told};

/// Most events that wait to be passed on; what is more is lost.
const MAX_WAITING: usize = 64;

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
                pass_on(&sink, key_units, event);
            }
            other => gst::debug!(CAT, obj = sink, "Not passed on: {other:?}"),
        }
    }
}

fn pass_on(sink: &super::XmemSink, key_units: &KeyUnits, event: gst::Event) {
    match key_units.answer_to(&event, monotonic_time()) {
        Answer::Later => gst::debug!(CAT, obj = sink, "Requested too soon: {event:?}"),
        Answer::IsComing => gst::debug!(CAT, obj = sink, "Requested already: {event:?}"),
        Answer::None => {
            gst::debug!(CAT, obj = sink, "A client wants {event:?}");
            let pad = sink.static_pad("sink");
            let handled = pad.is_some_and(|pad| pad.push_event(event.clone()));
            gst::debug!(CAT, obj = sink, "Upstream has handled it: {handled}");
            if !handled {
                key_units.refuse(&event);
            }
        }
    }
}
