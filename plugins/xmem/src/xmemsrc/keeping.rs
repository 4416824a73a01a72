//! What the producer keeps for the source: asked for by the streaming thread, which learns how long
//! frames last and how many downstream holds, and by the thread that configures the latency.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xmem_core::{BufferMeta, Grant, Upstream};

use super::plan::Plan;
use crate::CAT;

/// Shared by the threads of one source, from start to stop.
#[derive(Clone)]
pub(super) struct Keeping(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    producer: Option<Upstream>,
    /// The last request was not sent: the socket had no room.
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
            Err(error) => gst::warning!(CAT, "Asking the producer for {wanted:?}: {error}"),
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

    /// Forgets the producer before. Returns the leases to connect with.
    pub(super) fn restart(&self) -> u32 {
        let mut state = self.state();
        state.producer = None;
        state.plan.reconnect()
    }

    /// There is a producer to ask. It is asked at once for what downstream needed of the one before.
    pub(super) fn connected(&self, producer: Upstream) {
        let mut state = self.state();
        state.producer = Some(producer);
        if state.plan.has_grown() {
            state.ask();
        }
    }

    /// The pipeline was configured with a latency.
    pub(super) fn set_latency(&self, latency: gst::ClockTime) {
        let mut state = self.state();
        if state.plan.set_latency(latency.into()) {
            state.ask();
        }
    }

    /// A frame was received, which leaves `free` leases. What the caps say of frames' durations is
    /// worth more than what it says.
    pub(super) fn take_frame(&self, frame: &BufferMeta, by_caps: Option<Duration>, free: u32) {
        let mut state = self.state();
        let is_other = state.plan.take_frame(frame, by_caps);
        if state.plan.note_free_leases(free) || is_other || state.is_due {
            state.ask();
        }
    }

    /// The producer has granted something. Says whether the source covers another latency now.
    pub(super) fn take_grant(&self, grant: Grant) -> bool {
        gst::debug!(CAT, "The producer keeps {grant:?}");
        self.state().plan.take_grant(grant)
    }

    /// The longest time that a frame is kept before it is shown.
    pub(super) fn covered(&self) -> Option<Duration> {
        self.state().plan.covered()
    }

    /// Whether the producer has yet to answer what it was asked for last, or may grant more.
    pub(super) fn may_grow(&self) -> bool {
        self.state().plan.may_grow()
    }

    /// Why a frame was missed, and what to do about it.
    pub(super) fn why_missed(&self) -> String {
        self.state().plan.why_missed()
    }
}
