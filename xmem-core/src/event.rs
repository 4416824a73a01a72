//! Floor 2: what is said in a stream between its frames.

use std::sync::Arc;

use crate::error::{Error, Result};

pub(crate) mod log;
pub(crate) mod pending;

/// Most bytes of an event.
pub(crate) const MAX_EVENT: usize = 16 << 20;

/// What an event is to the stream. What it says is the producer's and the clients' own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// Said once, in order with the frames, to the clients that there are.
    Passing,
    /// True until another with the same key is said. A client that joins later is told, too: in the order of
    /// the keys, before the first frame. One without content takes back what was said.
    Sticky(u64),
    /// The format of the following frames, for GStreamer their encoded caps. Sticky; its key is 2^63.
    Format,
    /// As [`Passing`](EventKind::Passing), but it overtakes what was not received yet.
    Urgent,
    /// Urgent, and what was said once or published before it and was not received yet is void.
    Flush,
    /// The stream ends here. Frames or events that follow start it again.
    EndOfStream,
}

impl EventKind {
    /// The number that stands for the kind between processes, and in bindings. It does not change.
    pub fn number(self) -> u32 {
        self.to_wire().0
    }

    /// The kind with this number. `key` is that of [`Sticky`](EventKind::Sticky); other kinds have none.
    ///
    /// ```
    /// use xmem_core::EventKind;
    ///
    /// assert_eq!(EventKind::from_number(1, Some(7)), Some(EventKind::Sticky(7)));
    /// assert_eq!(EventKind::from_number(2, None), Some(EventKind::Format));
    /// assert_eq!(EventKind::from_number(2, Some(7)), None);
    /// ```
    pub fn from_number(number: u32, key: Option<u64>) -> Option<EventKind> {
        let kind = EventKind::from_wire(number, key.unwrap_or(0)).ok()?;
        let is_sticky = matches!(kind, EventKind::Sticky(_));
        (key.is_some() == is_sticky).then_some(kind)
    }

    /// The kind's name, in lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Passing => "passing",
            EventKind::Sticky(_) => "sticky",
            EventKind::Format => "format",
            EventKind::Urgent => "urgent",
            EventKind::Flush => "flush",
            EventKind::EndOfStream => "end_of_stream",
        }
    }

    /// Which event is replaced by this one, for clients that join later.
    pub(crate) fn key(self) -> Option<u64> {
        match self {
            EventKind::Sticky(key) => Some(key),
            EventKind::Format => Some(1 << 63),
            EventKind::EndOfStream => Some(u64::MAX),
            EventKind::Passing | EventKind::Urgent | EventKind::Flush => None,
        }
    }

    /// Whether it overtakes what was not received yet.
    pub(crate) fn is_urgent(self) -> bool {
        matches!(self, EventKind::Urgent | EventKind::Flush)
    }

    /// The numbers that stand for it between processes: which kind, and the key of what is sticky by a
    /// key of the producer's own. All other kinds have 0 there.
    pub(crate) fn to_wire(self) -> (u32, u64) {
        match self {
            EventKind::Passing => (0, 0),
            EventKind::Sticky(key) => (1, key),
            EventKind::Format => (2, 0),
            EventKind::Urgent => (3, 0),
            EventKind::Flush => (4, 0),
            EventKind::EndOfStream => (5, 0),
        }
    }

    /// What [`to_wire`](EventKind::to_wire) has made.
    ///
    /// # Errors
    /// [`Error::Protocol`] for all else: it names the kind or the key, whichever is wrong.
    pub(crate) fn from_wire(kind: u32, key: u64) -> Result<EventKind> {
        let what = match kind {
            0 => EventKind::Passing,
            1 => EventKind::Sticky(key),
            2 => EventKind::Format,
            3 => EventKind::Urgent,
            4 => EventKind::Flush,
            5 => EventKind::EndOfStream,
            _ => return Err(Error::Protocol(format!("unknown kind of event {kind}"))),
        };
        let (_, expected) = what.to_wire();
        if key != expected {
            return Err(Error::Protocol(format!(
                "the key {key:#x} of an event of kind {kind}: only kind 1 has one, others say 0"
            )));
        }
        Ok(what)
    }
}

/// Something that the producer said between frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    number: u64,
    kind: EventKind,
    content: Arc<[u8]>,
    producer_uid: u32,
}

impl StreamEvent {
    pub(crate) fn new(
        number: u64,
        kind: EventKind,
        content: Arc<[u8]>,
        producer_uid: u32,
    ) -> StreamEvent {
        StreamEvent {
            number,
            kind,
            content,
            producer_uid,
        }
    }

    /// What it is to the stream.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The number of the event in the stream, counted from 1. `None` for state that the producer told when
    /// this client joined.
    pub fn number(&self) -> Option<u64> {
        (self.number > 0).then_some(self.number)
    }

    /// The user that the producer runs as.
    pub fn producer_uid(&self) -> u32 {
        self.producer_uid
    }

    /// What it says: the producer's bytes, at most 16 MiB. Of another process, so not to be trusted.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}
