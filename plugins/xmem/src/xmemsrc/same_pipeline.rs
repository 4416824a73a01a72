//! Detects a source in the same pipeline as the sink of its channel. That cannot work, and without
//! this module nothing reports the reason.
//!
//! A sink forwards its first frame when its pipeline plays, and a pipeline plays when each of its
//! sinks has a frame. So the sinks downstream of the source wait for the sink of the channel, and
//! that one waits for them. If the sinks do not wait (`async=false`), the latency of the pipeline
//! is the latency of the channel, which is the latency of the source, which is part of the latency
//! of the pipeline. So it grows each time it is calculated.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

use super::received::Figures;
use crate::bindings;
use crate::xmemsink::XmemSink;

/// How long a source plays before it is checked.
const CHECK_AFTER: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// A latency that changes this often between two checks grows without limit.
const MANY_CHANGES: u64 = 8;
/// The maximum number of checks of a source that has no frame yet.
const MAX_CHECKS: u32 = 30;
/// The maximum number of elements of a pipeline that are examined.
const MAX_ELEMENTS: usize = 1000;

/// The progress of a source.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The path of the channel's socket, if it is valid.
    pub(super) socket_path: Option<PathBuf>,
    pub(super) figures: Figures,
    pub(super) latency: gst::ClockTime,
    pub(super) latency_changes: u64,
}

/// Checks a source some time after it has begun to play.
#[derive(Clone, Default)]
pub(super) struct SamePipeline(Arc<Mutex<Option<gst::SingleShotClockId>>>);

impl SamePipeline {
    /// Starts checking, because the source plays now. `progress` returns the progress of the
    /// source.
    pub(super) fn begin<T: IsA<gst::Element> + IsA<gst::Object> + Send + Sync>(
        &self,
        source: &T,
        progress: fn(&T) -> Progress,
    ) {
        self.check_later(source, progress, progress(source), MAX_CHECKS);
    }

    /// Checks the source after a while, and again while the result is not clear, up to `checks`
    /// times in all.
    fn check_later<T: IsA<gst::Element> + IsA<gst::Object> + Send + Sync>(
        &self,
        source: &T,
        progress: fn(&T) -> Progress,
        before: Progress,
        checks: u32,
    ) {
        let clock = gst::SystemClock::obtain();
        let Some(now) = bindings::clock_time(&clock) else {
            return;
        };
        let id = clock.new_single_shot_id(now + CHECK_AFTER);
        *self.pending() = Some(id.clone());
        let (checker, weak) = (self.clone(), source.downgrade());
        let scheduled = id.wait_async(move |_, _, id| {
            let (id, Some(source)) = (id.clone(), weak.upgrade()) else {
                return;
            };
            let (checker, before) = (checker.clone(), before.clone());
            // Not on the clock's thread, because other waits depend on it.
            source.call_async(move |source| {
                let now = progress(source);
                let is_clear = check(source.upcast_ref(), &before, &now);
                let is_due = checker.pending().as_deref() == Some(&id);
                if !is_clear && is_due && checks > 1 {
                    checker.check_later(source, progress, now, checks - 1);
                }
            });
        });
        if scheduled.is_err() {
            self.end();
        }
    }

    /// Stops checking, because the source does not play any more.
    pub(super) fn end(&self) {
        let pending = self.pending().take();
        if let Some(pending) = pending {
            pending.unschedule();
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<gst::SingleShotClockId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the sink in the source's pipeline that publishes the source's channel.
fn sink_of_its_channel(source: &gst::Element, progress: &Progress) -> Option<XmemSink> {
    let path = absolute(progress.socket_path.as_deref()?)?;
    let mut top = source.parent()?;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    let mut sinks = top
        .downcast::<gst::Bin>()
        .ok()?
        .iterate_all_by_element_factory_name("xmemsink");
    std::iter::from_fn(|| sinks.next().ok().flatten())
        .filter_map(|sink| sink.downcast::<XmemSink>().ok())
        .find(|sink| sink.socket_path().and_then(|sink| absolute(&sink)) == Some(path.clone()))
}

fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// Reports a problem of a source since the last check. Returns false if it is not clear yet whether
/// there is one.
fn check(source: &gst::Element, before: &Progress, now: &Progress) -> bool {
    const ADVICE: &str = "Put xmemsink and xmemsrc into two pipelines; both may be in one process";
    let has_frames = now.figures.received > 0;
    let changes = now.latency_changes.saturating_sub(before.latency_changes);
    if has_frames && (1..MANY_CHANGES).contains(&changes) {
        return false;
    }
    let Some(sink) = sink_of_its_channel(source, now) else {
        return has_frames;
    };
    let name = sink.name();
    let what = format!("{name} publishes the channel of this source in the same pipeline");
    let waits = now.figures.connected && !has_frames;
    let waits = waits && sink.current_state() < gst::State::Playing;
    if waits && let Some(other) = waiting_sink(source) {
        gst::element_error!(
            source,
            gst::ResourceError::Settings,
            (
                "{what}, so each waits for the other: {name} forwards its first frame when the whole \
                 pipeline plays, and the pipeline plays when {} has a frame. {ADVICE}",
                other.name()
            )
        );
    } else if has_frames && changes == 0 {
        gst::element_warning!(
            source,
            gst::ResourceError::Settings,
            ("{what}: they change their states together, so the pipeline began to play only after \
                 {name} had shown its first frame in PAUSED for a while, and a pause stops both. {ADVICE}")
        );
    } else if changes >= MANY_CHANGES {
        gst::element_warning!(
            source,
            gst::ResourceError::Settings,
            (
                "{what}, so the latency of the pipeline grows each time that it is calculated: it \
                 includes the latency of {name}, which is the latency of the pipeline. It is {} now. \
                 {ADVICE}",
                now.latency
            )
        );
    } else {
        return false;
    }
    true
}

/// Returns a sink downstream of the source that waits for its first frame.
fn waiting_sink(source: &gst::Element) -> Option<gst::Element> {
    let mut found: Vec<gst::Element> = vec![source.clone()];
    let mut next = 0;
    while let Some(element) = found.get(next).cloned() {
        next += 1;
        let is_sink = element.element_flags().contains(gst::ElementFlags::SINK);
        let is_bin = element.is::<gst::Bin>();
        if is_sink && !is_bin && element.current_state() < gst::State::Paused {
            return Some(element);
        }
        let elements = element
            .src_pads()
            .into_iter()
            .filter_map(|pad| element_behind(&pad));
        for element in elements {
            if found.len() < MAX_ELEMENTS && !found.contains(&element) {
                found.push(element);
            }
        }
    }
    None
}

/// Returns the element to which a pad is linked. Ghost pads are followed into a bin and out of it.
fn element_behind(pad: &gst::Pad) -> Option<gst::Element> {
    let mut peer = pad.peer()?;
    for _ in 0..MAX_ELEMENTS {
        if let Some(ghost) = peer.downcast_ref::<gst::GhostPad>() {
            peer = ghost.target()?;
        } else if let Some(ghost) = peer.parent().and_downcast::<gst::GhostPad>() {
            peer = ghost.peer()?;
        } else {
            return peer.parent_element();
        }
    }
    None
}
