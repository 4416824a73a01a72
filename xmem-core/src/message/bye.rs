//! Why a connection ends, as the body of a Bye says it.

use zerocopy::{FromBytes, IntoBytes};

use super::wire::{
    BYE_CUDA_ONLY, BYE_EXHAUSTED, BYE_FAILED, BYE_FULL, BYE_REFUSED, BYE_STOPPED,
    BYE_TOO_FEW_SLOTS, BYE_TOO_MANY_CLIENTS, BYE_UNSEALED_ONLY, ExhaustedBody, MAX_REASON,
    TooFewSlotsBody, TooManyClientsBody, exact, text,
};
use crate::error::{Error, Refusal, Resource, Result, Setting};

/// Why the producer says goodbye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ByeReason {
    /// It stops in good order.
    Stopped,
    /// Something in it has failed: what.
    Failed(String),
    /// It does not take this client, or takes it no longer.
    Refused(Refusal),
}

/// The settings that limit the number of slots, by their number in a message.
const LIMITS: [Setting; 2] = [Setting::MaxSlots, Setting::MaxBytes];

/// What can be exhausted, by its number in a message.
const RESOURCES: [Resource; 8] = [
    Resource::Memory,
    Resource::FileSize,
    Resource::Descriptors,
    Resource::OpenFiles,
    Resource::Threads,
    Resource::Closing,
    Resource::Space,
    Resource::DeviceMemory,
];

/// The number of a value in a message, counted from 0. A value that is not in the list gets a number
/// that a client does not know, rather than that of another value.
fn number_of<T: PartialEq>(list: &[T], value: T) -> u32 {
    let at = list.iter().position(|one| *one == value);
    at.map_or(u32::MAX, |at| at as u32)
}

impl ByeReason {
    /// Appends what follows the fixed fields of a Bye, and returns the number of the reason.
    pub(super) fn encode(&self, body: &mut Vec<u8>) -> u32 {
        let (number, said) = match self {
            ByeReason::Stopped => (BYE_STOPPED, ""),
            ByeReason::Failed(what) => (BYE_FAILED, what.as_str()),
            ByeReason::Refused(Refusal::Other { text, retryable }) => {
                let number = if *retryable { BYE_FULL } else { BYE_REFUSED };
                (number, text.as_str())
            }
            ByeReason::Refused(Refusal::TooManyClients { clients, max }) => {
                let (clients, max) = (*clients, *max);
                body.extend_from_slice(TooManyClientsBody { clients, max }.as_bytes());
                (BYE_TOO_MANY_CLIENTS, "")
            }
            ByeReason::Refused(Refusal::TooFewSlots {
                leases,
                needed,
                allowed,
                limit,
                slot_size,
            }) => {
                let part = TooFewSlotsBody {
                    leases: *leases,
                    needed: *needed,
                    allowed: *allowed,
                    limit: number_of(&LIMITS, *limit),
                    slot_size: *slot_size,
                };
                body.extend_from_slice(part.as_bytes());
                (BYE_TOO_FEW_SLOTS, "")
            }
            ByeReason::Refused(Refusal::UnsealedOnly) => (BYE_UNSEALED_ONLY, ""),
            ByeReason::Refused(Refusal::CudaOnly { device }) => (BYE_CUDA_ONLY, device.as_str()),
            ByeReason::Refused(Refusal::Exhausted { what, resource }) => {
                let resource = number_of(&RESOURCES, *resource);
                body.extend_from_slice(ExhaustedBody { resource, zero: 0 }.as_bytes());
                (BYE_EXHAUSTED, what.as_str())
            }
        };
        let end = said.floor_char_boundary(MAX_REASON);
        body.extend_from_slice(&said.as_bytes()[..end]);
        number
    }

    /// The reason of this number, from what follows the fixed fields of a Bye.
    pub(super) fn decode(number: u32, rest: &[u8]) -> Result<ByeReason> {
        let bad = |what: String| Error::Protocol(what);
        let said = |bytes: &[u8]| {
            if bytes.len() > MAX_REASON {
                return Err(bad("a bye that is too long".into()));
            }
            text(bytes)
        };
        Ok(match number {
            BYE_STOPPED if rest.is_empty() => ByeReason::Stopped,
            BYE_STOPPED => return Err(bad("a bye of a producer that stops, with a text".into())),
            BYE_FAILED => ByeReason::Failed(said(rest)?),
            BYE_REFUSED | BYE_FULL => ByeReason::Refused(Refusal::Other {
                text: said(rest)?,
                retryable: number == BYE_FULL,
            }),
            BYE_TOO_MANY_CLIENTS => {
                let TooManyClientsBody { clients, max } = exact(rest, "bye")?;
                ByeReason::Refused(Refusal::TooManyClients { clients, max })
            }
            BYE_TOO_FEW_SLOTS => {
                let part: TooFewSlotsBody = exact(rest, "bye")?;
                let limit = LIMITS.get(part.limit as usize);
                ByeReason::Refused(Refusal::TooFewSlots {
                    leases: part.leases,
                    needed: part.needed,
                    allowed: part.allowed,
                    limit: *limit.ok_or_else(|| bad(format!("unknown limit {}", part.limit)))?,
                    slot_size: part.slot_size,
                })
            }
            BYE_UNSEALED_ONLY if rest.is_empty() => ByeReason::Refused(Refusal::UnsealedOnly),
            BYE_UNSEALED_ONLY => return Err(bad("a bye for unsealed memory, with a text".into())),
            BYE_CUDA_ONLY => {
                let device = said(rest)?;
                ByeReason::Refused(Refusal::CudaOnly { device })
            }
            BYE_EXHAUSTED => {
                let (part, what) = ExhaustedBody::read_from_prefix(rest)
                    .map_err(|_| bad("a bye that is too short".into()))?;
                let resource = RESOURCES.get(part.resource as usize);
                ByeReason::Refused(Refusal::Exhausted {
                    what: said(what)?,
                    resource: *resource
                        .ok_or_else(|| bad(format!("unknown resource {}", part.resource)))?,
                })
            }
            other => return Err(bad(format!("unknown reason {other} for a bye"))),
        })
    }
}
