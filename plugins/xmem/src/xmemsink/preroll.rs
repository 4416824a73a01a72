//! Waiting in `render()` as the base class itself does: without the lock that changes of state need.
//!
//! `GstBaseSink` calls `render()` with its PREROLL_LOCK held, and takes that lock in every change of
//! state. It lets go of the lock while it waits for the clock (`gst_base_sink_wait_clock`); so must
//! who waits for a client or for a slot. Calling `unlock()` before it takes the lock is not enough:
//! it does so for a pause and a flush, and not when a thread that waits in PAUSED is to play.
#![allow(unsafe_code)]

use gst::glib::translate::{ToGlibPtr, try_from_glib};
use gst::prelude::*;
use gst_base::ffi;
use gst_base::prelude::*;

/// Runs `wait` without the PREROLL_LOCK. Only for `render()`.
pub(super) fn without_lock<T>(sink: &impl IsA<gst_base::BaseSink>, wait: impl FnOnce() -> T) -> T {
    /// Takes the lock again, also where `wait` panics: the base class unlocks it in any case.
    struct Unlocked(*mut ffi::GstBaseSink);
    impl Drop for Unlocked {
        fn drop(&mut self) {
            // SAFETY: the sink is alive, since `sink` is borrowed for longer than this lives, and
            // its lock is initialized as long as it lives. This thread does not hold it.
            unsafe { gst::glib::ffi::g_mutex_lock(&raw mut (*self.0).preroll_lock) }
        }
    }
    let relock = Unlocked(sink.as_ref().to_glib_none().0);
    // SAFETY: as above; and this thread holds the lock, as in every call of `render()`.
    unsafe { gst::glib::ffi::g_mutex_unlock(&raw mut (*relock.0).preroll_lock) }
    let result = wait();
    drop(relock);
    result
}

/// After a wait of `render()` was ended: waits until the sink plays, or is to render a step.
///
/// `wanted` tells whether somebody who has called `unlock()` still wants the PREROLL_LOCK.
///
/// # Errors
/// What `render()` has to return.
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
            // As after the base class's own waits. The change that is under way may wait for this
            // to commit it, and those that it is told of meanwhile count on that.
            preroll(sink, buffer)
        } else if wanted() || is_to_pause(sink) {
            // It is about to pause, and the base class counts on this to wait.
            sink.wait_preroll()
        } else {
            return Ok(());
        };
        match waited {
            // It may have paused once more before this thread ran.
            Ok(_) => {}
            Err(STEP) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What the base class's waits return when they are to render a step in PAUSED (GST_FLOW_STEP).
const STEP: gst::FlowError = gst::FlowError::CustomError;

/// Whether the sink flushes: what `render()` waits for will not be wanted.
fn is_flushing(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let sink: *mut ffi::GstBaseSink = sink.as_ref().to_glib_none().0;
    // SAFETY: the sink is alive, as it is borrowed, and the field is written under PREROLL_LOCK
    // alone, which this thread holds in `prepare()` and `render()`.
    unsafe { (*sink).flushing != gst::glib::ffi::GFALSE }
}

/// Whether the sink is in PAUSED, or on its way from there to PLAYING, and nothing has told it yet
/// that it has what it shows then. Only for `prepare()` and `render()`.
pub(super) fn needs_preroll(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let sink: *mut ffi::GstBaseSink = sink.as_ref().to_glib_none().0;
    // SAFETY: the sink is alive, as it is borrowed, and the field is written under PREROLL_LOCK
    // alone, which this thread holds in `prepare()` and `render()`.
    unsafe { (*sink).need_preroll != gst::glib::ffi::GFALSE }
}

/// Whether PAUSED is the state that was asked for last: the sink may be on its way there, from PLAYING, too.
pub(super) fn is_to_pause(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    states(sink.as_ref().upcast_ref()).target == gst::ffi::GST_STATE_PAUSED
}

/// Whether the sink does not play, and is not on its way from PAUSED to PLAYING.
pub(super) fn is_paused(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let states = states(sink.as_ref().upcast_ref());
    // Before the first preroll it is in READY still.
    ![states.current, states.pending].contains(&gst::ffi::GST_STATE_PLAYING)
}

/// The states of an element: the one that it is in, the one that a change leads to, and the one that was
/// asked for last.
struct States {
    current: gst::ffi::GstState,
    pending: gst::ffi::GstState,
    target: gst::ffi::GstState,
}

fn states(element: &gst::Element) -> States {
    let _lock = element.object_lock();
    let element: *mut gst::ffi::GstElement = element.to_glib_none().0;
    // SAFETY: the element is alive, as it is borrowed, and the fields are written under the object lock
    // alone, which is held here.
    unsafe {
        States {
            current: (*element).current_state,
            pending: (*element).pending_state,
            target: (*element).target_state,
        }
    }
}

/// Whether a sink that prerolls plays soon: its own state is on its way to PLAYING, or the pipeline's is.
pub(super) fn is_going_to_play(sink: &impl IsA<gst_base::BaseSink>) -> bool {
    let element = sink.as_ref().upcast_ref::<gst::Element>();
    if states(element).pending == gst::ffi::GST_STATE_PLAYING {
        return true;
    }
    // What is in a bin is told each step by that; the outermost knows where it leads to.
    let mut outermost = element.clone();
    while !outermost.is_locked_state()
        && let Some(parent) = outermost.parent()
        && let Ok(parent) = parent.downcast()
    {
        outermost = parent;
    }
    states(&outermost).target == gst::ffi::GST_STATE_PLAYING
}

/// Commits the state, and waits for as long as the sink has to preroll.
fn preroll(
    sink: &impl IsA<gst_base::BaseSink>,
    buffer: &gst::Buffer,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    // SAFETY: both are alive, as they are borrowed; this thread holds the PREROLL_LOCK in
    // `render()`, which the function wants and has again when it returns.
    unsafe {
        try_from_glib(ffi::gst_base_sink_do_preroll(
            sink.as_ref().to_glib_none().0,
            buffer.as_mut_ptr().cast(),
        ))
    }
}
