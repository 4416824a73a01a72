//! Queries the duration of the stream and its seekable range upstream, and sends them to the
//! clients.
//!
//! Elements can take any length of time to answer, so the queries do not run on the streaming
//! thread. The answers change: a file grows, and some durations are estimates. So the queries are
//! repeated for each second of the stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gst_base::BaseSink;
use gst_base::prelude::*;

use xmem_media::event::{Extent, Seeking};

use crate::events::extent::extent;
use crate::timestamps::nanoseconds;

/// The queries are repeated after this part of the stream, in nanoseconds.
const AGAIN_AFTER: u64 = 1_000_000_000;

/// The state of the queries, and the last answers.
#[derive(Default)]
pub(super) struct Asked {
    state: Mutex<State>,
    /// Upstream is not live, so its answers may change.
    repeats: AtomicBool,
    /// The timestamp of the frame at the last queries.
    at: AtomicU64,
}

#[derive(Default)]
struct State {
    /// A thread runs the queries; with `asks_again` it repeats them.
    asks: bool,
    asks_again: bool,
    said: Option<Extent>,
    /// The number of runs of the stream that have ended. Answers from an earlier run are discarded.
    streams: u64,
}

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether to repeat the queries, at a frame with this timestamp.
    pub(super) fn is_due(&self, stream_pts: Option<Duration>) -> bool {
        let Some(stream_pts) = stream_pts.map(nanoseconds) else {
            return false;
        };
        // Relaxed: both only decide when the queries run.
        self.repeats.load(Ordering::Relaxed)
            && stream_pts.abs_diff(self.at.load(Ordering::Relaxed)) >= AGAIN_AFTER
            && {
                self.at.store(stream_pts, Ordering::Relaxed);
                true
            }
    }

    /// Runs the queries on another thread, and calls `say` if the answers have changed. `say`
    /// returns false if the stream has ended. The thread holds no reference to the stream, so the
    /// stream can end before upstream answers.
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
            let extent = extent(is_live, |format| answers(pad, format));
            let mut state = self.state();
            if state.streams == streams && state.said.as_ref() != Some(&extent) && say(&extent) {
                state.said = Some(extent);
            }
        }
    }

    /// Ends the run of the stream: clients that join later do not receive the old answers.
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

/// What upstream answers in a format: the duration, and where the stream can be sought.
fn answers(pad: &gst::Pad, format: gst::Format) -> (Option<i64>, Option<Seeking>) {
    let mut duration = gst::query::Duration::new(format);
    let has_duration = pad.peer_query(&mut duration);
    let mut seeking = gst::query::Seeking::new(format);
    let is_answered = pad.peer_query(&mut seeking);
    let duration = has_duration.then(|| duration.result().value());
    let seeking = is_answered.then(|| {
        let (is_seekable, start, end) = seeking.result();
        Seeking {
            is_seekable,
            start: start.value(),
            end: end.value(),
        }
    });
    (duration, seeking)
}
