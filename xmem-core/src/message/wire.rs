//! The bytes of messages: kinds, limits, and the bodies that have fixed fields.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};

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
pub(super) const MAX_REASON: usize = 1024;
pub(super) const HEAD: usize = 8;
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"xmem/hey");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Head {
    pub(super) kind: u16,
    pub(super) zero: u16,
    pub(super) length: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct HelloBody {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) leases: u32,
    pub(super) delivery: u32,
    pub(super) flags: u32,
    pub(super) backlog: u32,
    pub(super) zero: u32,
    pub(super) name: [u8; 32],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct WelcomeBody {
    pub(super) version: u32,
    pub(super) client: u32,
    pub(super) leases: u32,
    pub(super) slots: u32,
    pub(super) clock: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct EventBody {
    pub(super) number: u64,
    pub(super) position: u64,
    pub(super) key: u64,
    pub(super) kind: u32,
    pub(super) length: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct RequestBody {
    pub(super) number: u32,
    pub(super) leases: u32,
    pub(super) backlog: u32,
    pub(super) zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct GrantedBody {
    pub(super) number: u32,
    pub(super) leases: u32,
    pub(super) backlog: u32,
    pub(super) most: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct ByeBody {
    pub(super) position: u64,
    pub(super) reason: u32,
    pub(super) zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct TooManyClientsBody {
    pub(super) clients: u32,
    pub(super) max: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct TooFewSlotsBody {
    pub(super) leases: u32,
    pub(super) needed: u32,
    pub(super) allowed: u32,
    pub(super) limit: u32,
    pub(super) slot_size: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct ExhaustedBody {
    pub(super) resource: u32,
    pub(super) zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct AskBody {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) zero: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct AnswerBody {
    pub(super) version: u32,
    pub(super) length: u32,
}

pub(super) const HELLO: u16 = 1;
pub(super) const WELCOME: u16 = 2;
pub(super) const SEGMENT: u16 = 3;
pub(super) const SEGMENT_GONE: u16 = 4;
pub(super) const EVENT: u16 = 5;
pub(super) const UPSTREAM: u16 = 6;
pub(super) const BYE: u16 = 7;
pub(super) const TOLD: u16 = 8;
pub(super) const READY: u16 = 9;
pub(super) const JOINED: u16 = 10;
pub(super) const REQUEST: u16 = 11;
pub(super) const GRANTED: u16 = 12;
pub(super) const ASK: u16 = 13;
pub(super) const ANSWER: u16 = 14;

/// The flag of a hello: the client takes memory that other processes may write.
pub(super) const TAKES_UNSEALED: u32 = 1;
/// The flag of a hello: the client takes memory of CUDA devices.
pub(super) const TAKES_CUDA: u32 = 2;

pub(super) const BYE_STOPPED: u32 = 0;
pub(super) const BYE_REFUSED: u32 = 1;
pub(super) const BYE_FULL: u32 = 2;
pub(super) const BYE_FAILED: u32 = 3;
pub(super) const BYE_TOO_MANY_CLIENTS: u32 = 4;
pub(super) const BYE_TOO_FEW_SLOTS: u32 = 5;
pub(super) const BYE_UNSEALED_ONLY: u32 = 6;
pub(super) const BYE_EXHAUSTED: u32 = 7;
pub(super) const BYE_CUDA_ONLY: u32 = 8;

/// Reads a body that has this type and nothing after it.
pub(super) fn exact<T: FromBytes>(bytes: &[u8], name: &str) -> Result<T> {
    T::read_from_bytes(bytes)
        .map_err(|_| Error::Protocol(format!("a {name} of {} bytes", bytes.len())))
}

/// Reads a text.
pub(super) fn text(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::Protocol("text that is not UTF-8".into())),
    }
}
