//! Bytes to messages.

use zerocopy::FromBytes;

use super::wire::*;
use super::{ByeReason, Delivery, Hello, Message, Welcome};
use crate::error::{Error, Result};
use crate::event::{EventKind, MAX_EVENT};
use crate::meta::fixed_text;
use crate::quota::{Grant, Quota};
use crate::segment::{MAX_LEASES, MAX_SLOTS, MemoryDescription, SegmentId, Takes, VERSION};

impl Message {
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
                if body.flags & !(TAKES_UNSEALED | TAKES_CUDA) != 0 {
                    return Err(bad(format!("unknown flags {:#x} of a hello", body.flags)));
                }
                Ok(Message::Hello(Hello {
                    leases: body.leases,
                    backlog: body.backlog,
                    delivery,
                    takes: Takes {
                        unsealed: body.flags & TAKES_UNSEALED != 0,
                        cuda: body.flags & TAKES_CUDA != 0,
                    },
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
                let (body, rest) = ByeBody::read_from_prefix(body)
                    .map_err(|_| bad("a bye that is too short".into()))?;
                Ok(Message::Bye {
                    position: body.position,
                    reason: ByeReason::decode(body.reason, rest)?,
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
