//! Why a producer does not take a client.

use super::resource::Resource;
use super::setting::Setting;

/// Why a producer does not take a client, or takes it no longer. Another process has said so: the
/// values are not checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The producer has as many clients as it may have.
    #[error(
        "it has {clients} of {max} clients: raise {} of the producer",
        Setting::MaxClients
    )]
    TooManyClients {
        /// How many clients it has.
        clients: u32,
        /// Its limit, [`Setting::MaxClients`].
        max: u32,
    },
    /// The slots for this client's leases are more than the producer may make.
    #[error(
        "with {leases} leases for one more client {needed} slots are needed in all, and {limit} \
         allows {allowed}{}: raise {limit} of the producer, or lower the leases of the client",
        each(*.limit, *.slot_size)
    )]
    TooFewSlots {
        /// Leases that the client wants.
        leases: u32,
        /// Slots that the producer and all clients need then.
        needed: u32,
        /// Slots that there may be.
        allowed: u32,
        /// The setting that allows no more: [`Setting::MaxSlots`] or [`Setting::MaxBytes`].
        limit: Setting,
        /// Bytes of a slot.
        slot_size: u64,
    },
    /// All frames are in memory that other processes may write, and the client takes none.
    #[error(
        "its frames are in memory that other processes may write (dmabufs), and can't be copied: \
         allow such memory in the client (unsealed_memory: always)"
    )]
    UnsealedOnly,
    /// All frames are in memory of a CUDA device, and the client takes none.
    #[error(
        "its frames are in memory of the GPU {device}, and this client takes no such memory \
         (device_memory), or was built without CUDA"
    )]
    CudaOnly {
        /// The device, as the producer names it.
        device: String,
    },
    /// The producer's system has no more of something. It may have later.
    #[error("it can't take another client: {what}: {resource}")]
    Exhausted {
        /// What the producer was doing.
        what: String,
        /// What is missing.
        resource: Resource,
    },
    /// Something else.
    #[error("{text}")]
    Other {
        /// The producer's words.
        text: String,
        /// Whether trying later can help.
        retryable: bool,
    },
}

impl Refusal {
    /// Whether trying later can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Refusal::TooManyClients { .. }
            | Refusal::TooFewSlots { .. }
            | Refusal::Exhausted { .. } => true,
            Refusal::UnsealedOnly | Refusal::CudaOnly { .. } => false,
            Refusal::Other { retryable, .. } => *retryable,
        }
    }

    /// A refusal for good: the client has broken the protocol.
    pub(crate) fn violation(text: impl Into<String>) -> Refusal {
        Refusal::Other {
            text: text.into(),
            retryable: false,
        }
    }
}

/// How large a slot is, where a limit in bytes allows so many.
fn each(limit: Setting, slot_size: u64) -> String {
    match limit {
        Setting::MaxBytes => format!(" of {slot_size} bytes"),
        _ => String::new(),
    }
}

/// How a connection has ended without a goodbye.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnection {
    /// The producer crashed, was killed, has failed, or has hung up.
    #[error("the producer is gone: {0}")]
    Gone(String),
    /// The producer lives, and has evicted this client.
    #[error("the producer has evicted this client: {0}")]
    Evicted(Refusal),
}
