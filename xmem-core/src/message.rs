//! Floor 2: the messages of the control connection, to bytes and back. No I/O.
//!
//! One message is one datagram of a SEQPACKET socket: a head of 8 bytes (kind, a zero, length of
//! the body), then the body; all numbers are little-endian. `docs/protocol.md` is the norm.

use crate::event::EventKind;
use crate::quota::{Grant, Quota};
use crate::segment::{MemoryDescription, SegmentId, Takes};

mod bye;
mod decode;
mod encode;
mod wire;

pub(crate) use bye::ByeReason;
pub(crate) use wire::{
    MAX_ANSWER, MAX_INLINE_EVENT, MAX_MESSAGE, MAX_PRODUCER_MESSAGE, MAX_UPSTREAM,
};

/// Which frames a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
#[non_exhaustive]
pub enum Delivery {
    /// Every frame, in order, as far as the producer's pool reaches back.
    #[default]
    InOrder = 0,
    /// Always the newest frame; those before it are skipped. Never makes a producer wait.
    Latest = 1,
}

/// What goes over the control connection. A client sends `Hello`, `Ready`, `Request` and `Upstream`, a
/// process that only asks sends `Ask`, the producer all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Hello(Hello),
    /// With two descriptors: the metadata segment (read-only) and the lease page.
    Welcome(Welcome),
    /// The client has mapped its lease page.
    Ready,
    /// The client is in the scan, and may lease frames.
    Joined {
        /// The position of its first frame.
        position: u64,
    },
    /// A segment exists; with the descriptors of its memory (read-only).
    Segment {
        id: SegmentId,
        memory: MemoryDescription,
    },
    /// A segment that no later frame uses.
    SegmentGone {
        id: SegmentId,
    },
    /// Something that is said in the stream between its frames. With a descriptor where the
    /// content is `None`: a memfd of `length` bytes that holds it.
    Event {
        number: u64,
        /// It comes before the frame at this position.
        position: u64,
        kind: EventKind,
        length: u32,
        content: Option<Vec<u8>>,
    },
    /// All events up to this number were told that are for this client.
    Told {
        number: u64,
    },
    /// A client asks for another quota. It has put the leases beyond it out of use.
    Request {
        /// Counts the client's requests, from 1.
        number: u32,
        quota: Quota,
    },
    /// What a client has from now on.
    Granted {
        /// The client's last request, 0 before the first.
        number: u32,
        grant: Grant,
    },
    /// Something that a client says to the producer.
    Upstream {
        content: Vec<u8>,
    },
    /// Nothing follows, and no frame at or after this position.
    Bye {
        position: u64,
        reason: ByeReason,
    },
    /// In place of a hello: what is the format?
    Ask,
    /// The format, of `length` bytes; none has 0. It is `None` where it is too long for a message.
    Answer {
        length: u32,
        format: Option<Vec<u8>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) leases: u32,
    /// Frames that it wants to be kept as long as it has not asked for others, if they are small.
    pub(crate) backlog: u32,
    pub(crate) delivery: Delivery,
    /// The kinds of memory that it takes frames in.
    pub(crate) takes: Takes,
    /// At most 32 bytes arrive.
    pub(crate) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) client: u32,
    pub(crate) leases: u32,
    pub(crate) slots: u32,
    /// The producer's `CLOCK_MONOTONIC` when it was sent, in nanoseconds.
    pub(crate) clock: u64,
}

#[cfg(test)]
mod tests;
