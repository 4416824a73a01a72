//! Floor 2: the messages of the control connection, to bytes and back. No I/O.
//!
//! One message is one datagram of a SEQPACKET socket: a head of 8 bytes (kind, a zero, length of
//! the body), then the body; all numbers are little-endian. `docs/protocol.md` is the norm.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::event::{EventKind, MAX_EVENT};
use crate::meta::{fixed, fixed_text};
use crate::quota::{Grant, Quota};
use crate::segment::{MAX_LEASES, MAX_SLOTS, MemoryDescription, SegmentId, VERSION};

/// Longest message of a client, head included.
pub(crate) const MAX_MESSAGE: usize = 32 * 1024;
/// Longest message of a producer, head included: of those the kernel keeps few for a client that does
/// not read. A longer event goes in a memfd.
pub(crate) const MAX_PRODUCER_MESSAGE: usize = 4096;
/// Most bytes of an event that go inside its message.
pub(crate) const MAX_INLINE_EVENT: usize = MAX_PRODUCER_MESSAGE - HEAD - size_of::<EventBody>();
/// Most bytes of a format that go into an answer.
pub(crate) const MAX_ANSWER: usize = MAX_PRODUCER_MESSAGE - HEAD - size_of::<AnswerBody>();
/// Most bytes of what a client sends upstream.
pub(crate) const MAX_UPSTREAM: usize = MAX_MESSAGE - HEAD;
const MAX_REASON: usize = 1024;
const HEAD: usize = 8;
const MAGIC: u64 = u64::from_le_bytes(*b"xmem/hey");

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

/// Why the producer says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ByeReason {
    /// It stops in good order.
    Stopped = 0,
    /// It does not take this client, and never will.
    Refused = 1,
    /// It can't take this client now.
    Full = 2,
    /// Something in it has failed.
    Failed = 3,
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
    /// A segment is no longer used by any frame to come.
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
        reason: ByeReason,
        position: u64,
        text: String,
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
    /// It takes frames in memory that other processes may write or punch holes into.
    pub(crate) takes_unsealed: bool,
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

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Head {
    kind: u16,
    zero: u16,
    length: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct HelloBody {
    magic: u64,
    version: u32,
    leases: u32,
    delivery: u32,
    flags: u32,
    backlog: u32,
    zero: u32,
    name: [u8; 32],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct WelcomeBody {
    version: u32,
    client: u32,
    leases: u32,
    slots: u32,
    clock: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct EventBody {
    number: u64,
    position: u64,
    key: u64,
    kind: u32,
    length: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RequestBody {
    number: u32,
    leases: u32,
    backlog: u32,
    zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct GrantedBody {
    number: u32,
    leases: u32,
    backlog: u32,
    most: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct ByeBody {
    position: u64,
    reason: u32,
    zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct AskBody {
    magic: u64,
    version: u32,
    zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct AnswerBody {
    version: u32,
    length: u32,
}

const HELLO: u16 = 1;
const WELCOME: u16 = 2;
const SEGMENT: u16 = 3;
const SEGMENT_GONE: u16 = 4;
const EVENT: u16 = 5;
const UPSTREAM: u16 = 6;
const BYE: u16 = 7;
const TOLD: u16 = 8;
const READY: u16 = 9;
const JOINED: u16 = 10;
const REQUEST: u16 = 11;
const GRANTED: u16 = 12;
const ASK: u16 = 13;
const ANSWER: u16 = 14;

/// The flag of a hello: the client takes memory that other processes may write.
const TAKES_UNSEALED: u32 = 1;

impl Message {
    /// How many descriptors come with the message.
    pub(crate) fn fds(&self) -> usize {
        match self {
            Message::Welcome(_) => 2,
            Message::Segment { memory, .. } => memory.descriptors(),
            Message::Event { content: None, .. } => 1,
            _ => 0,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let kind = match self {
            Message::Hello(hello) => {
                let part = HelloBody {
                    magic: MAGIC,
                    version: VERSION,
                    leases: hello.leases,
                    delivery: hello.delivery as u32,
                    flags: u32::from(hello.takes_unsealed) * TAKES_UNSEALED,
                    backlog: hello.backlog,
                    zero: 0,
                    name: fixed(&hello.name),
                };
                body.extend_from_slice(part.as_bytes());
                HELLO
            }
            Message::Welcome(welcome) => {
                let part = WelcomeBody {
                    version: VERSION,
                    client: welcome.client,
                    leases: welcome.leases,
                    slots: welcome.slots,
                    clock: welcome.clock,
                };
                body.extend_from_slice(part.as_bytes());
                WELCOME
            }
            Message::Ready => READY,
            Message::Joined { position } => {
                body.extend_from_slice(&position.to_le_bytes());
                JOINED
            }
            Message::Segment { id, memory } => {
                body.extend_from_slice(&id.0.to_le_bytes());
                memory.encode(&mut body);
                SEGMENT
            }
            Message::SegmentGone { id } => {
                body.extend_from_slice(&id.0.to_le_bytes());
                SEGMENT_GONE
            }
            Message::Event {
                number,
                position,
                kind,
                length,
                content,
            } => {
                let (kind, key) = kind.to_wire();
                let part = EventBody {
                    number: *number,
                    position: *position,
                    key,
                    kind,
                    length: *length,
                };
                body.extend_from_slice(part.as_bytes());
                body.extend_from_slice(content.as_deref().unwrap_or_default());
                EVENT
            }
            Message::Told { number } => {
                body.extend_from_slice(&number.to_le_bytes());
                TOLD
            }
            Message::Request { number, quota } => {
                let part = RequestBody {
                    number: *number,
                    leases: quota.leases,
                    backlog: quota.backlog,
                    zero: 0,
                };
                body.extend_from_slice(part.as_bytes());
                REQUEST
            }
            Message::Granted { number, grant } => {
                let part = GrantedBody {
                    number: *number,
                    leases: grant.quota.leases,
                    backlog: grant.quota.backlog,
                    most: grant.most,
                };
                body.extend_from_slice(part.as_bytes());
                GRANTED
            }
            Message::Upstream { content } => {
                body.extend_from_slice(content);
                UPSTREAM
            }
            Message::Bye {
                reason,
                position,
                text,
            } => {
                let part = ByeBody {
                    position: *position,
                    reason: *reason as u32,
                    zero: 0,
                };
                body.extend_from_slice(part.as_bytes());
                let end = text.floor_char_boundary(MAX_REASON);
                body.extend_from_slice(&text.as_bytes()[..end]);
                BYE
            }
            Message::Ask => {
                let part = AskBody {
                    magic: MAGIC,
                    version: VERSION,
                    zero: 0,
                };
                body.extend_from_slice(part.as_bytes());
                ASK
            }
            Message::Answer { length, format } => {
                let part = AnswerBody {
                    version: VERSION,
                    length: *length,
                };
                body.extend_from_slice(part.as_bytes());
                body.extend_from_slice(format.as_deref().unwrap_or_default());
                ANSWER
            }
        };
        let head = Head {
            kind,
            zero: 0,
            length: body.len() as u32,
        };
        let mut bytes = head.as_bytes().to_vec();
        bytes.append(&mut body);
        bytes
    }

    /// Takes a datagram apart.
    ///
    /// # Errors
    /// [`Error::Protocol`] for anything that [`encode`](Message::encode) would not have made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Message> {
        let bad = |what: String| Error::Protocol(what);
        let (head, body) = Head::read_from_prefix(bytes)
            .map_err(|_| bad(format!("a message of {} bytes", bytes.len())))?;
        if head.length as usize != body.len() || head.zero != 0 || bytes.len() > MAX_MESSAGE {
            return Err(bad(format!(
                "a message of kind {} says {} bytes and has {}",
                head.kind,
                head.length,
                body.len()
            )));
        }
        match head.kind {
            HELLO => {
                check_greeting(body)?;
                let body: HelloBody = exact(body, "hello")?;
                let delivery = match body.delivery {
                    0 => Delivery::InOrder,
                    1 => Delivery::Latest,
                    other => return Err(bad(format!("unknown delivery {other}"))),
                };
                if !(1..=MAX_LEASES).contains(&body.leases) {
                    return Err(bad(format!(
                        "{} leases wanted, 1 to {MAX_LEASES} are possible",
                        body.leases
                    )));
                }
                if body.backlog > MAX_SLOTS || body.zero != 0 {
                    return Err(bad(format!("a backlog of {} frames wanted", body.backlog)));
                }
                if body.flags & !TAKES_UNSEALED != 0 {
                    return Err(bad(format!("unknown flags {:#x} of a hello", body.flags)));
                }
                Ok(Message::Hello(Hello {
                    leases: body.leases,
                    backlog: body.backlog,
                    delivery,
                    takes_unsealed: body.flags & TAKES_UNSEALED != 0,
                    name: fixed_text(&body.name).to_owned(),
                }))
            }
            WELCOME => {
                let body: WelcomeBody = exact(body, "welcome")?;
                check_version(body.version)?;
                if !(1..=MAX_LEASES).contains(&body.leases)
                    || !(1..=MAX_SLOTS).contains(&body.slots)
                {
                    return Err(bad(format!(
                        "a welcome with {} leases and {} slots",
                        body.leases, body.slots
                    )));
                }
                Ok(Message::Welcome(Welcome {
                    client: body.client,
                    leases: body.leases,
                    slots: body.slots,
                    clock: body.clock,
                }))
            }
            READY => match body {
                [] => Ok(Message::Ready),
                _ => Err(bad(format!("a ready of {} bytes", body.len()))),
            },
            JOINED => Ok(Message::Joined {
                position: exact(body, "joined")?,
            }),
            SEGMENT => {
                let (id, memory) = u32::read_from_prefix(body)
                    .map_err(|_| bad("a segment that is too short".into()))?;
                Ok(Message::Segment {
                    id: SegmentId(id),
                    memory: MemoryDescription::decode(memory)?,
                })
            }
            SEGMENT_GONE => Ok(Message::SegmentGone {
                id: SegmentId(exact(body, "segment-gone")?),
            }),
            EVENT => {
                let (body, content) = EventBody::read_from_prefix(body)
                    .map_err(|_| bad("an event that is too short".into()))?;
                if body.length as usize > MAX_EVENT {
                    return Err(bad(format!("an event of {} bytes", body.length)));
                }
                let kind = EventKind::from_wire(body.kind, body.key)?;
                let content = if content.is_empty() && body.length > 0 {
                    None
                } else if content.len() == body.length as usize {
                    Some(content.to_vec())
                } else {
                    return Err(bad("an event whose length is wrong".into()));
                };
                Ok(Message::Event {
                    number: body.number,
                    position: body.position,
                    kind,
                    length: body.length,
                    content,
                })
            }
            TOLD => Ok(Message::Told {
                number: exact(body, "told")?,
            }),
            REQUEST => {
                let body: RequestBody = exact(body, "request")?;
                let quota = Quota {
                    leases: body.leases,
                    backlog: body.backlog,
                };
                if !quota.is_possible() || body.number == 0 || body.zero != 0 {
                    return Err(bad(format!("request {} for {quota:?}", body.number)));
                }
                Ok(Message::Request {
                    number: body.number,
                    quota,
                })
            }
            GRANTED => {
                let body: GrantedBody = exact(body, "granted")?;
                let quota = Quota {
                    leases: body.leases,
                    backlog: body.backlog,
                };
                if !quota.is_possible() || body.most > MAX_SLOTS {
                    return Err(bad(format!("{quota:?} of {} was granted", body.most)));
                }
                Ok(Message::Granted {
                    number: body.number,
                    grant: Grant {
                        quota,
                        most: body.most,
                    },
                })
            }
            UPSTREAM => Ok(Message::Upstream {
                content: body.to_vec(),
            }),
            BYE => {
                let (body, text) = ByeBody::read_from_prefix(body)
                    .map_err(|_| bad("a bye that is too short".into()))?;
                if text.len() > MAX_REASON {
                    return Err(bad("a bye that is too long".into()));
                }
                let reason = match body.reason {
                    0 => ByeReason::Stopped,
                    1 => ByeReason::Refused,
                    2 => ByeReason::Full,
                    3 => ByeReason::Failed,
                    other => return Err(bad(format!("unknown reason {other} for a bye"))),
                };
                Ok(Message::Bye {
                    reason,
                    position: body.position,
                    text: utf8(text)?,
                })
            }
            ASK => {
                check_greeting(body)?;
                let _: AskBody = exact(body, "question")?;
                Ok(Message::Ask)
            }
            ANSWER => {
                let (body, format) = AnswerBody::read_from_prefix(body)
                    .map_err(|_| bad("an answer that is too short".into()))?;
                check_version(body.version)?;
                let format = if format.is_empty() && body.length > 0 {
                    None
                } else if format.len() == body.length as usize && format.len() <= MAX_ANSWER {
                    Some(format.to_vec())
                } else {
                    return Err(bad("an answer whose length is wrong".into()));
                };
                Ok(Message::Answer {
                    length: body.length,
                    format,
                })
            }
            other => Err(bad(format!("unknown kind of message {other}"))),
        }
    }
}

/// Looks at magic and version before all else: everything else may differ in another version.
fn check_greeting(body: &[u8]) -> Result<()> {
    let mut prefix = [0; 12];
    let length = body.len().min(prefix.len());
    prefix[..length].copy_from_slice(&body[..length]);
    let magic = u64::from_le_bytes(prefix[..8].try_into().expect("8 bytes"));
    let version = u32::from_le_bytes(prefix[8..].try_into().expect("4 bytes"));
    if magic != MAGIC {
        return Err(Error::Protocol("the hello is not one of xmem".into()));
    }
    check_version(version)
}

fn check_version(version: u32) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::Protocol(format!(
        "the peer speaks version {version} of the protocol, this side version {VERSION}: \
         use the same xmem on both"
    )))
}

fn exact<T: FromBytes + FromZeros>(bytes: &[u8], name: &str) -> Result<T> {
    T::read_from_bytes(bytes)
        .map_err(|_| Error::Protocol(format!("a {name} of {} bytes", bytes.len())))
}

/// The text of a message.
fn utf8(bytes: impl Into<Vec<u8>>) -> Result<String> {
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok(text),
        Err(_) => Err(Error::Protocol("text that is not UTF-8".into())),
    }
}

#[cfg(test)]
mod tests;
