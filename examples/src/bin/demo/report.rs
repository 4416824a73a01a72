//! What the demo's processes say to each other: a line each, over the children's pipes.

use std::fmt;
use std::path::PathBuf;
use std::str::{FromStr, SplitWhitespace};

/// A child to the demo.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// It is up. A client now waits for a producer, if there is none.
    Started,
    /// So many frames of the clip are encoded.
    Encoded(u64),
    /// The producer is about to publish a frame.
    Published(Sight),
    /// A client has received a frame.
    Received(Sight),
    /// What the meter makes of the frame's pixels.
    Measured {
        /// Mean brightness, 0 to 255.
        luma: f64,
        /// Mean difference of brightness to the frame before.
        motion: f64,
    },
    /// What `xmemsink` counts.
    Counted(Figures),
    /// The picture asked for is in its file.
    Pictured,
    /// Something is odd, but the show goes on.
    Warned(String),
    /// The stream has come to its end, and all before it was received.
    Ended,
    /// It can't go on.
    Failed(String),
}

/// A frame, as one process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The frame's number in the stream.
    pub seq: u64,
    /// When: `CLOCK_MONOTONIC`, in nanoseconds.
    pub at: u64,
    /// The fingerprint of its pixels.
    pub print: u64,
    /// Whether the bytes lie in memory that the producer shares: they were not copied.
    pub in_place: bool,
}

/// What `xmemsink` counts, as its property `stats` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames published.
    pub published: u64,
    /// Those of them that upstream wrote straight into a slot.
    pub zero_copy: u64,
    /// Those that had to be copied into one.
    pub copied: u64,
    /// Frames that were not published.
    pub dropped: u64,
    /// Slots in shared memory.
    pub slots: u64,
    /// Bytes of shared memory.
    pub memory: u64,
}

/// The demo to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The viewer: write one of the frames to this file, as PNG.
    Picture(PathBuf),
    /// The producer: the stream may end when the clip does.
    MayEnd,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Started => write!(f, "started"),
            Report::Encoded(frames) => write!(f, "encoded {frames}"),
            Report::Published(sight) => write!(f, "published {sight}"),
            Report::Received(sight) => write!(f, "received {sight}"),
            Report::Measured { luma, motion } => write!(f, "measured {luma} {motion}"),
            Report::Counted(figures) => write!(f, "counted {figures}"),
            Report::Pictured => write!(f, "pictured"),
            Report::Warned(text) => write!(f, "warned {}", one_line(text)),
            Report::Ended => write!(f, "ended"),
            Report::Failed(text) => write!(f, "failed {}", one_line(text)),
        }
    }
}

impl FromStr for Report {
    type Err = crate::Error;

    fn from_str(line: &str) -> crate::Result<Report> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut fields = Fields(rest.split_whitespace());
        Ok(match word {
            "started" => Report::Started,
            "encoded" => Report::Encoded(fields.next()?),
            "published" => Report::Published(fields.sight()?),
            "received" => Report::Received(fields.sight()?),
            "measured" => Report::Measured {
                luma: fields.next()?,
                motion: fields.next()?,
            },
            "counted" => Report::Counted(fields.figures()?),
            "pictured" => Report::Pictured,
            "warned" => Report::Warned(rest.into()),
            "ended" => Report::Ended,
            "failed" => Report::Failed(rest.into()),
            _ => return Err(format!("\"{line}\" is no report").into()),
        })
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sight {
            seq,
            at,
            print,
            in_place,
        } = self;
        write!(f, "{seq} {at} {print} {in_place}")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            published,
            zero_copy,
            copied,
            dropped,
            slots,
            memory,
        } = self;
        write!(
            f,
            "{published} {zero_copy} {copied} {dropped} {slots} {memory}"
        )
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Picture(path) => write!(f, "picture {}", path.display()),
            Order::MayEnd => write!(f, "may-end"),
        }
    }
}

impl FromStr for Order {
    type Err = crate::Error;

    fn from_str(line: &str) -> crate::Result<Order> {
        match line.split_once(' ') {
            Some(("picture", path)) => Ok(Order::Picture(path.into())),
            None if line == "may-end" => Ok(Order::MayEnd),
            _ => Err(format!("\"{line}\" is no order").into()),
        }
    }
}

/// The words after a report's first.
struct Fields<'a>(SplitWhitespace<'a>);

impl Fields<'_> {
    fn next<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &mut self,
    ) -> crate::Result<T> {
        Ok(self.0.next().ok_or("a report is too short")?.parse()?)
    }

    fn sight(&mut self) -> crate::Result<Sight> {
        Ok(Sight {
            seq: self.next()?,
            at: self.next()?,
            print: self.next()?,
            in_place: self.next()?,
        })
    }

    fn figures(&mut self) -> crate::Result<Figures> {
        Ok(Figures {
            published: self.next()?,
            zero_copy: self.next()?,
            copied: self.next()?,
            dropped: self.next()?,
            slots: self.next()?,
            memory: self.next()?,
        })
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let sight = Sight {
            seq: 7,
            at: 123_456_789,
            print: u64::MAX,
            in_place: true,
        };
        let figures = Figures {
            published: 1,
            zero_copy: 2,
            copied: 3,
            dropped: 4,
            slots: 5,
            memory: 6,
        };
        for report in [
            Report::Started,
            Report::Encoded(840),
            Report::Published(sight),
            Report::Received(sight),
            Report::Measured {
                luma: 16.25,
                motion: 0.1,
            },
            Report::Counted(figures),
            Report::Pictured,
            Report::Warned("the frame is late".into()),
            Report::Ended,
            Report::Failed("no space left".into()),
        ] {
            assert_eq!(report.to_string().parse::<Report>().unwrap(), report);
        }
        assert!("received 1 2".parse::<Report>().is_err());
        assert!("".parse::<Report>().is_err());
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        for order in [Order::Picture("/a folder/frame.png".into()), Order::MayEnd] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
    }

    #[test]
    fn a_message_of_several_lines_is_one_report() {
        let report = Report::Failed("first\nsecond".into());
        assert_eq!(report.to_string(), "failed first second");
    }
}
