//! Asks the elements before the sink how long the stream is and where it can be sought, and tells the
//! clients.
//!
//! They may take as long as they like to answer, so a thread of its own asks, and not the streaming
//! thread. What they answer changes: files grow, and of some a duration is only estimated. So they are asked
//! again, once for each second of the stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::BaseSink;
use gst_base::prelude::*;

use crate::events::extent::{Answers, Extent, Seeking};

/// After so much of the stream it is asked again, in nanoseconds.
const AGAIN_AFTER: u64 = 1_000_000_000;

/// What was asked and said.
#[derive(Default)]
pub(super) struct Asked {
    state: Mutex<State>,
    /// Upstream is not live: what it answers may change.
    repeats: AtomicBool,
    /// The timestamp of the frame at which it was asked last.
    at: AtomicU64,
}

#[derive(Default)]
struct State {
    /// A thread asks, and is to ask once more.
    asks: bool,
    asks_again: bool,
    said: Option<Extent>,
    /// The stream has been over so often: what was asked before is void.
    streams: u64,
}

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to ask again, at a frame with this timestamp.
    pub(super) fn is_due(&self, stream_pts: u64) -> bool {
        // Relaxed: both decide only when it is asked.
        self.repeats.load(Ordering::Relaxed)
            && stream_pts != xmem_core::NONE
            && stream_pts.abs_diff(self.at.load(Ordering::Relaxed)) >= AGAIN_AFTER
            && {
                self.at.store(stream_pts, Ordering::Relaxed);
                true
            }
    }

    /// Asks on another thread, and calls `say` if the answers have changed. `say` is false if there is no
    /// stream any more. The thread does not keep the stream, which may end before upstream answers.
    pub(super) fn ask(
        self: &Arc<Self>,
        sink: &BaseSink,
        say: impl Fn(&Extent) -> bool + Send + 'static,
    ) {
        {
            let mut state = self.state();
            state.asks_again = true;
            if std::mem::replace(&mut state.asks, true) {
                return;
            }
        }
        let asked = self.clone();
        sink.call_async(move |sink| asked.run(sink, say));
    }

    fn run(&self, sink: &BaseSink, say: impl Fn(&Extent) -> bool) {
        loop {
            let streams = {
                let mut state = self.state();
                if !std::mem::take(&mut state.asks_again) {
                    state.asks = false;
                    return;
                }
                state.streams
            };
            let pad = sink.sink_pad();
            let is_live = is_live(pad);
            self.repeats.store(!is_live, Ordering::Relaxed);
            let extent = Extent::of(is_live, |format| answers(pad, format));
            let mut state = self.state();
            if state.streams == streams && state.said.as_ref() != Some(&extent) && say(&extent) {
                state.said = Some(extent);
            }
        }
    }

    /// The run of the stream ends: clients that join from now on are told nothing.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        (state.said, state.asks_again) = (None, false);
        state.streams += 1;
        self.repeats.store(false, Ordering::Relaxed);
    }
}

fn is_live(pad: &gst::Pad) -> bool {
    let mut query = gst::query::Latency::new();
    pad.peer_query(&mut query) && query.result().0
}

fn answers(pad: &gst::Pad, format: gst::Format) -> Answers {
    let mut duration = gst::query::Duration::new(format);
    let has_duration = pad.peer_query(&mut duration);
    let mut seeking = gst::query::Seeking::new(format);
    let is_answered = pad.peer_query(&mut seeking);
    Answers {
        format,
        duration: has_duration.then(|| duration.result().value()),
        seeking: is_answered.then(|| {
            let (is_seekable, start, end) = seeking.result();
            Seeking {
                is_seekable,
                start: start.value(),
                end: end.value(),
            }
        }),
    }
}
