//! The buffers that arrive at sinks.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::monotonic_ns;

use crate::picture::{Listener, Reference, TOLERANCE};
use crate::source_watch::{SourceWatch, record};

/// What is compared in a buffer.
#[derive(Clone, Debug, Default)]
pub enum Look {
    /// Nothing but its arrival.
    #[default]
    Arrival,
    /// The picture of the test source.
    Pictures(Arc<Reference>),
    /// The sound of the test source.
    Sound,
}

/// The pad of a sink.
pub struct SinkWatch {
    pub name: String,
    look: Look,
    state: Mutex<State>,
}

/// The observations since the last mark.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub buffers: u64,
    /// When the first buffer arrived, on `CLOCK_MONOTONIC`.
    pub first_at: Option<u64>,
    /// Number of pictures and parts of sound that were compared.
    pub looked_at: u64,
    /// Number of these that differ from what the source makes.
    pub wrong: u64,
    /// How the first of these differs.
    pub first_wrong: Option<String>,
    /// The largest number of frames that left the source after the frame that arrives here.
    pub lag: u64,
}

#[derive(Default)]
struct State {
    seen: Seen,
    listener: Listener,
}

impl SinkWatch {
    /// Watches a pad; `sources` say how far the stream is before the sink.
    pub fn start(
        name: String,
        pad: &gst::Pad,
        look: Look,
        sources: Vec<Arc<SourceWatch>>,
    ) -> Arc<SinkWatch> {
        let watch = Arc::new(SinkWatch {
            name,
            look,
            state: Mutex::default(),
        });
        let probe = watch.clone();
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => probe.take(pad, buffer, &sources),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter()
                        .for_each(|buffer| probe.take(pad, buffer, &sources));
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        watch
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The observations since the last mark.
    pub fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    /// Starts new observations.
    pub fn mark(&self) {
        *self.state() = State::default();
    }

    fn take(&self, pad: &gst::Pad, buffer: &gst::BufferRef, sources: &[Arc<SourceWatch>]) {
        let now = monotonic_ns();
        // Buffers that were on their way at the mark do not belong to the stream after the mark.
        if sources.iter().any(|source| source.seen().buffers == 0) {
            return;
        }
        let state = &mut *self.state();
        let number = state.seen.buffers;
        state.seen.buffers += 1;
        state.seen.first_at.get_or_insert(now);
        if let ([source], Some((_, number))) = (sources, record(buffer)) {
            let lag = source.seen().last_number.saturating_sub(number);
            state.seen.lag = state.seen.lag.max(lag);
        }
        let wrong = match &self.look {
            Look::Arrival => return,
            Look::Pictures(reference) => {
                state.seen.looked_at += 1;
                let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
                match reference.difference(pad, buffer) {
                    _ if corrupted => Some("is flagged as corrupted".into()),
                    None => Some("is not a picture of the source's size".into()),
                    Some(difference) if difference > TOLERANCE => {
                        Some(format!("has a block that differs by {difference}"))
                    }
                    Some(_) => None,
                }
            }
            Look::Sound => match state.listener.hear(buffer) {
                None => return,
                Some(heard) => {
                    state.seen.looked_at += 1;
                    heard.err()
                }
            },
        };
        if let Some(wrong) = wrong {
            state.seen.wrong += 1;
            let wrong = format!("number {number} {wrong}");
            state.seen.first_wrong.get_or_insert(wrong);
        }
    }
}
