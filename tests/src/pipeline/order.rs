//! Orders to the process of a pipeline. `of` is the name of an element, `at` that of a watched pad.
#![allow(missing_docs)] // The variants are what they are in GStreamer.

use serde::{Deserialize, Serialize};

use super::event::{Event, Seek};
use super::push::Push;
use crate::order;
use crate::setters::variants;

/// An order to the process of a pipeline. The answer has the time that it took (`ms`). Where the
/// element is optional, the order is for the whole pipeline without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    State {
        of: Option<String>,
        to: State,
    },
    /// Wait for the end of a state change.
    Settle(Option<String>),
    /// Play and stop the pipeline that many times.
    Cycle(u64),
    /// Change the state along each of these paths.
    Walk {
        of: Option<String>,
        paths: Vec<Vec<State>>,
        /// Whether each change is complete before the next.
        settle: bool,
    },
    /// Pause and play that many times, without waiting.
    Toggle(u64),
    /// Step by that many buffers.
    Step {
        of: String,
        count: u64,
    },
    /// Report the property `stats`.
    Stats(String),
    Get {
        of: String,
        property: String,
    },
    Set {
        of: String,
        property: String,
        value: String,
    },
    /// Post an application message, which arrives after all messages that were posted before.
    Post,
    Push(Push),
    /// Have an `appsrc` push so many pictures from a pool with so many buffers of CUDA memory. All bytes
    /// of each are its number, which the device writes.
    PushCuda {
        from: String,
        caps: String,
        count: u8,
        buffers: u32,
    },
    /// Set a context of the application on the pipeline, which wraps the primary CUDA context.
    ShareCuda,
    /// Report the number of buffers in the pools of [`Push`] that are not in use.
    Unused,
    /// Drop the pools of [`Push`].
    GiveUp,
    /// Send a drain query from the source pad.
    Drain(String),
    /// Have an `appsrc` end the stream.
    End(String),
    /// Send EOS to the pipeline.
    Eos,
    /// Send FLUSH_START and FLUSH_STOP.
    Flush(String),
    Seek {
        of: Option<String>,
        seek: Seek,
    },
    BaseTime,
    /// Report the formats of raw video.
    Formats,
    /// Report the formats that `videotestsrc` makes.
    VideotestsrcFormats,
    /// Use this clock from now on.
    Clock(Clock),
    /// Change the rate of the pipeline's clock to so many millionths more than that of its internal
    /// time, after a jump.
    Calibrate {
        ppm: i64,
        /// The length of the jump, in ns.
        ahead: u64,
    },
    /// Use the clock of an element from now on, if it provides one.
    ClockOf(String),
    /// Send an event to an element, or from a pad of it.
    Send {
        of: String,
        pad: Option<String>,
        event: Event,
    },
    Position(String),
    Duration {
        of: String,
        format: Format,
    },
    Seeking {
        of: String,
        format: Format,
    },
    Latency(Option<String>),
    /// Report what has passed a pad.
    Watched(String),
    /// Keep the last buffers that pass a pad.
    Hold {
        at: String,
        count: usize,
    },
    /// Report the digests of the kept buffers.
    Digest(String),
    /// Try to write to the memory of the kept buffers.
    Scribble(String),
}

impl order::Order for Order {
    const PROGRAM: &'static str = "xmem-test-pipeline";

    fn answer(&self) -> &'static str {
        "answer"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Null,
    Ready,
    Paused,
    Playing,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Format {
    Time,
    Default,
    Bytes,
    Percent,
}

/// A clock of the system that is faster by so many millionths.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Clock {
    /// Whether it follows `CLOCK_REALTIME`, and not `CLOCK_MONOTONIC`.
    pub is_realtime: bool,
    pub ppm: i64,
}

impl Order {
    pub fn state_of(of: &str, to: State) -> Order {
        let of = Some(of.into());
        Order::State { of, to }
    }

    /// Changes the state of the pipeline along each of these paths.
    pub fn walk(paths: &[Vec<State>]) -> Order {
        let (of, settle) = (None, false);
        let paths = paths.to_vec();
        Order::Walk { of, paths, settle }
    }

    pub fn set(of: &str, property: &str, value: impl ToString) -> Order {
        let (of, property) = (of.into(), property.into());
        let value = value.to_string();
        Order::Set {
            of,
            property,
            value,
        }
    }

    pub fn step(of: &str, count: u64) -> Order {
        let of = of.into();
        Order::Step { of, count }
    }

    pub fn end(of: &str) -> Order {
        Order::End(of.into())
    }

    pub fn seek(of: &str, seek: Seek) -> Order {
        let of = Some(of.into());
        Order::Seek { of, seek }
    }

    /// Sends an event to an element.
    pub fn send(of: &str, event: impl Into<Event>) -> Order {
        let (of, event) = (of.into(), event.into());
        let pad = None;
        Order::Send { of, pad, event }
    }

    /// Sends an event from the pad `src` of an element.
    pub fn push_event(of: &str, event: impl Into<Event>) -> Order {
        let (of, event) = (of.into(), event.into());
        let pad = Some("src".into());
        Order::Send { of, pad, event }
    }

    /// Queries the duration.
    pub fn duration(of: &str, format: Format) -> Order {
        let of = of.into();
        Order::Duration { of, format }
    }

    /// Queries whether and where seeks are possible.
    pub fn seeking(of: &str, format: Format) -> Order {
        let of = of.into();
        Order::Seeking { of, format }
    }
}

variants!(Order { Push, Clock });

impl From<&Push> for Order {
    fn from(push: &Push) -> Order {
        Order::Push(push.clone())
    }
}

impl From<State> for Order {
    fn from(to: State) -> Order {
        Order::State { of: None, to }
    }
}

impl From<Seek> for Order {
    fn from(seek: Seek) -> Order {
        Order::Seek { of: None, seek }
    }
}

impl From<State> for gst::State {
    fn from(state: State) -> gst::State {
        match state {
            State::Null => gst::State::Null,
            State::Ready => gst::State::Ready,
            State::Paused => gst::State::Paused,
            State::Playing => gst::State::Playing,
        }
    }
}

impl From<Format> for gst::Format {
    fn from(format: Format) -> gst::Format {
        match format {
            Format::Time => gst::Format::Time,
            Format::Default => gst::Format::Default,
            Format::Bytes => gst::Format::Bytes,
            Format::Percent => gst::Format::Percent,
        }
    }
}
