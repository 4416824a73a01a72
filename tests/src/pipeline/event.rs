//! Events as tests describe them. Times are in ns.
#![allow(missing_docs)] // GStreamer's documentation has these names.

use serde::{Deserialize, Serialize};

use crate::setters::{setters, variants};

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub kind: Kind,
    /// Events with the same name here have the same sequence number.
    pub seqnum: Option<String>,
}

/// What an event says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The start of a stream with this ID.
    StreamStart(String),
    Segment(Segment),
    /// A title.
    Tag(String),
    /// A collection of two streams.
    Collection,
    /// A table of contents with this edition.
    Toc(String),
    /// Data of this protection system.
    Protection(String),
    SegmentDone(u64),
    Gap {
        pts: u64,
        duration: Option<u64>,
    },
    Custom(Custom),
    FlushStart,
    FlushStop,
    Eos,
    ForceKeyUnit,
    /// The report of a sink that is too fast, for this running time.
    Qos(u64),
    Seek(Seek),
}

/// How an event with a structure travels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Way {
    Downstream,
    Sticky,
    Oob,
    Both,
    Upstream,
    Navigation,
}

/// An event with a structure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Custom {
    pub way: Way,
    pub name: String,
    pub number: u64,
    /// The size of another field, if it has one.
    pub padding: Option<usize>,
}

impl Custom {
    /// An event `application/x-event` with a number.
    pub fn new(way: Way, number: u64) -> Custom {
        Custom {
            way,
            name: "application/x-event".into(),
            number,
            padding: None,
        }
    }
}

setters!(Custom {
    name: &str,
    padding: usize
});

/// A segment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Whether it counts in bytes, and not in ns.
    pub bytes: bool,
    pub rate: Option<f64>,
    pub start: u64,
    pub stop: Option<u64>,
    pub time: u64,
    pub base: u64,
}

impl Segment {
    /// A segment that begins at this position, whose stream time is `time`.
    pub fn new(start: u64, time: u64) -> Segment {
        Segment {
            start,
            time,
            ..Segment::default()
        }
    }
}

setters!(Segment {
    bytes: bool,
    rate: f64,
    stop: u64,
    base: u64
});

/// A flushing seek.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Seek {
    pub rate: f64,
    /// The position: from the start of the stream, or from its end if it is negative.
    pub start: i64,
    /// The end of the segment, if it changes.
    pub stop: Option<u64>,
    /// Flags besides FLUSH, as bits.
    flags: u32,
}

impl Seek {
    /// Seeks to a position.
    pub fn to(start: u64) -> Seek {
        Seek {
            rate: 1.0,
            start: start as i64,
            stop: None,
            flags: 0,
        }
    }

    /// Seeks to a position that is this long before the end.
    pub fn before_end(time: u64) -> Seek {
        let start = -(time as i64);
        Seek {
            start,
            ..Seek::to(0)
        }
    }

    /// Adds flags.
    pub fn with(mut self, flags: gst::SeekFlags) -> Seek {
        self.flags |= flags.bits();
        self
    }

    /// All flags.
    pub fn flags(&self) -> gst::SeekFlags {
        gst::SeekFlags::FLUSH | gst::SeekFlags::from_bits_truncate(self.flags)
    }
}

setters!(Seek {
    rate: f64,
    stop: u64
});

impl Event {
    pub fn stream_start(id: &str) -> Event {
        Kind::StreamStart(id.into()).into()
    }

    pub fn tag(title: &str) -> Event {
        Kind::Tag(title.into()).into()
    }

    pub fn toc(edition: &str) -> Event {
        Kind::Toc(edition.into()).into()
    }

    pub fn protection(system: &str) -> Event {
        Kind::Protection(system.into()).into()
    }

    pub fn gap(pts: u64, duration: impl Into<Option<u64>>) -> Event {
        let duration = duration.into();
        Kind::Gap { pts, duration }.into()
    }

    pub fn custom(way: Way, number: u64) -> Event {
        Custom::new(way, number).into()
    }

    /// Gives it the sequence number with this name.
    pub fn seqnum(mut self, name: &str) -> Event {
        self.seqnum = Some(name.into());
        self
    }
}

variants!(Kind {
    Segment,
    Custom,
    Seek
});

impl<T: Into<Kind>> From<T> for Event {
    fn from(kind: T) -> Event {
        Event {
            kind: kind.into(),
            seqnum: None,
        }
    }
}
