//! Messages to bytes.

use zerocopy::IntoBytes;

use super::Message;
use super::wire::*;
use crate::meta::fixed;
use crate::segment::VERSION;

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
                    flags: (u32::from(hello.takes.unsealed) * TAKES_UNSEALED)
                        | (u32::from(hello.takes.cuda) * TAKES_CUDA),
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
            Message::Bye { position, reason } => {
                let mut rest = Vec::new();
                let part = ByeBody {
                    position: *position,
                    reason: reason.encode(&mut rest),
                    zero: 0,
                };
                body.extend_from_slice(part.as_bytes());
                body.append(&mut rest);
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
}
