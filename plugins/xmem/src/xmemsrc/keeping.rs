//! What the producer keeps for the source. Two threads ask for it: the streaming thread, which
//! learns the duration of frames and how many downstream holds, and the thread that configures the
//! latency.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xmem_core::{BufferMeta, Grant, UpstreamSender};

use super::plan::Plan;
use crate::log::CAT;

/// Shared by the threads of one source, from `start` to `stop`.
#[derive(Clone)]
pub(super) struct Keeping(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    producer: Option<UpstreamSender>,
    /// The last request was not sent, because the socket was full.
    is_due: bool,
}

impl State {
    fn ask(&mut self) {
        let Some(producer) = &self.producer else {
            return;
        };
        let wanted = self.plan.wanted();
        match producer.request(wanted) {
            Ok(is_sent) => self.is_due = !is_sent,
            Err(error) => gst::warning!(CAT, "Cannot ask the producer for {wanted:?}: {error}"),
        }
    }
}

impl Keeping {
    pub(super) fn new(plan: Plan) -> Keeping {
        Keeping(Arc::new(Mutex::new(State {
            plan,
            producer: None,
            is_due: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the previous producer. Returns the number of leases to connect with.
    pub(super) fn restart(&self) -> u32 {
        let mut state = self.state();
        state.producer = None;
        state.plan.reconnect()
    }

    /// Sets the producer. If downstream needed more of the previous producer than the initial
    /// quota, asks for it at once.
    pub(super) fn connected(&self, producer: UpstreamSender) {
        let mut state = self.state();
        state.producer = Some(producer);
        if state.plan.has_grown() {
            state.ask();
        }
    }

    /// Notes that the pipeline was configured with a latency.
    pub(super) fn set_latency(&self, latency: gst::ClockTime) {
        let mut state = self.state();
        if state.plan.set_latency(latency.into()) {
            state.ask();
        }
    }

    /// Notes that a frame was received, which leaves `free` leases. The duration of frames in the
    /// caps takes precedence over the duration of the frame.
    pub(super) fn take_frame(&self, frame: &BufferMeta, by_caps: Option<Duration>, free: u32) {
        let mut state = self.state();
        let is_other = state.plan.take_frame(frame, by_caps);
        if state.plan.note_free_leases(free) || is_other || state.is_due {
            state.ask();
        }
    }

    /// Notes a grant of the producer. Returns whether the source covers another latency now.
    pub(super) fn take_grant(&self, grant: Grant) -> bool {
        gst::debug!(CAT, "The producer grants {grant:?}");
        self.state().plan.take_grant(grant)
    }

    /// Returns the longest time that a frame can be held before it is shown.
    pub(super) fn covered(&self) -> Option<Duration> {
        self.state().plan.covered()
    }

    /// Returns whether the producer has not answered the last request yet, or may grant more.
    pub(super) fn may_grow(&self) -> bool {
        self.state().plan.may_grow()
    }

    /// Returns the reason for a missed frame, with advice.
    pub(super) fn why_missed(&self) -> String {
        self.state().plan.why_missed()
    }
}
