//! Waits in `render()` without holding the lock that changes of state need, as the base class does.
//!
//! `GstBaseSink` calls `render()` with its PREROLL_LOCK held, and takes that lock in every change
//! of state. It releases the lock while it waits for the clock (`gst_base_sink_wait_clock`).
//! `render()` must do the same while it waits for a client or for a slot. The base class calls
//! `unlock()` before it takes the lock, but only for a pause and a flush, not when a thread that
//! waits in PAUSED has to continue in PLAYING. So `unlock()` alone is not enough.
#![allow(unsafe_code)]

use glib::translate::{ToGlibPtr, try_from_glib};
use gst::prelude::*;
use gst_base::ffi;
use gst_base::prelude::*;

/// Runs `wait` without the PREROLL_LOCK. Must be called from `render()` only.
pub(super) fn without_lock<T>(sink: &impl IsA<gst_base::BaseSink>, wait: impl FnOnce() -> T) -> T {
    /// Locks again on drop, also if `wait` panics, because the base class unlocks in any case.
    struct Unlocked(*mut ffi::GstBaseSink);
    impl Drop for Unlocked {
        fn drop(&mut self) {
            // SAFETY: the sink is alive, because `sink` is borrowed for longer than this object
            // lives. The lock is initialized as long as the sink lives. This thread does not hold
            // it.
            unsafe { glib::ffi::g_mutex_lock(&raw mut (*self.0).preroll_lock) }
        }
    }
    let relock = Unlocked(sink.as_ref().to_glib_none().0);
    // SAFETY: as above; and this thread holds the lock, as in every call of `render()`.
    unsafe { glib::ffi::g_mutex_unlock(&raw mut (*relock.0).preroll_lock) }
    let result = wait();
    drop(relock);
    result
}

/// Called after a wait of `render()` was ended: waits until the sink plays, or has to render a
/// step.
///
/// `wanted` returns whether a thread that has called `unlock()` still needs the PREROLL_LOCK.
///
/// # Errors
/// The flow return with which `render()` must return.
pub(super) fn wait_to_go_on(
    sink: &impl IsA<gst_base::BaseSink>,
    buffer: &gst::Buffer,
    wanted: impl Fn() -> bool,
) -> Result<(), gst::FlowError> {
    if is_flushing(sink) {
        return Err(gst::FlowError::Flushing);
    }
    loop {
        let waited = if needs_preroll(sink) {
            // The base class does this after its own waits, too. A change of state that is under
            // way may wait for this commit, and the application relies on the messages that it
            // posts.
            preroll(sink, buffer)
        } else if wanted() || is_to_pause(sink) {
            // The sink is about to pause, and the base class relies on `render()` to wait.
            sink.wait_preroll()
        } else {
            return Ok(());
        };
        match waited {
            // The sink may have paused again before this thread ran.
            Ok(_) => {}
            Err(STEP) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// GST_FLOW_STEP: the waits of the base class return it when `render()` has to render a step in
/// PAUSED.
const STEP: gst::FlowError = gst::FlowError::CustomError;

/// Returns whether the sink flushes, so that `render()` must not wait.
fn is_flushing(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let sink: *mut ffi::GstBaseSink = sink.as_ref().to_glib_none().0;
    // SAFETY: the sink is borrowed, so it is alive. The field is written only under the
    // PREROLL_LOCK, which this thread holds in `prepare()` and `render()`.
    unsafe { (*sink).flushing != glib::ffi::GFALSE }
}

/// Returns whether the sink has to preroll: it is in PAUSED, or on its way to PLAYING, and has not
/// committed its state with a buffer yet. Must be called from `prepare()` and `render()` only.
pub(super) fn needs_preroll(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let sink: *mut ffi::GstBaseSink = sink.as_ref().to_glib_none().0;
    // SAFETY: the sink is borrowed, so it is alive. The field is written only under the
    // PREROLL_LOCK, which this thread holds in `prepare()` and `render()`.
    unsafe { (*sink).need_preroll != glib::ffi::GFALSE }
}

/// Returns whether PAUSED is the target state. The sink may still be on its way there, also from
/// PLAYING.
pub(super) fn is_to_pause(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    states(sink.as_ref().upcast_ref()).target == gst::ffi::GST_STATE_PAUSED
}

/// Returns whether the sink does not play and is not on its way from PAUSED to PLAYING.
pub(super) fn is_paused(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let states = states(sink.as_ref().upcast_ref());
    // Before the first preroll the current state is still READY.
    ![states.current, states.pending].contains(&gst::ffi::GST_STATE_PLAYING)
}

/// The states of an element: its current state, the state to which a pending change leads, and the
/// target state that was set last.
struct States {
    current: gst::ffi::GstState,
    pending: gst::ffi::GstState,
    target: gst::ffi::GstState,
}

fn states(element: &gst::Element) -> States {
    let _lock = element.object_lock();
    let element: *mut gst::ffi::GstElement = element.to_glib_none().0;
    // SAFETY: the element is borrowed, so it is alive. The fields are written only under the object
    // lock, which is held here.
    unsafe {
        States {
            current: (*element).current_state,
            pending: (*element).pending_state,
            target: (*element).target_state,
        }
    }
}

/// Returns whether a sink that prerolls will play soon: it is on its way to PLAYING, or its
/// pipeline is.
pub(super) fn is_going_to_play(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let element = sink.as_ref().upcast_ref::<gst::Element>();
    if states(element).pending == gst::ffi::GST_STATE_PLAYING {
        return true;
    }
    // A bin sets the state of its children step by step. Only the outermost bin has the final
    // target.
    let mut outermost = element.clone();
    while !outermost.is_locked_state()
        && let Some(parent) = outermost.parent()
        && let Ok(parent) = parent.downcast()
    {
        outermost = parent;
    }
    states(&outermost).target == gst::ffi::GST_STATE_PLAYING
}

/// Commits the state, and waits while the sink has to preroll.
fn preroll(
    sink: &impl IsA<gst_base::BaseSink>,
    buffer: &gst::Buffer,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    // SAFETY: both are borrowed, so they are alive. This thread holds the PREROLL_LOCK in
    // `render()`; the function requires it and holds it again when it returns.
    unsafe {
        try_from_glib(ffi::gst_base_sink_do_preroll(
            sink.as_ref().to_glib_none().0,
            buffer.as_mut_ptr().cast(),
        ))
    }
}
