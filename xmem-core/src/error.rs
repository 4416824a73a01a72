//! The one error type of the crate.

use std::io;
use std::path::PathBuf;

use crate::dtype::DType;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, said so that a person can act on it.
///
/// [`Error::is_retryable`] tells whether connecting again can help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A piece of shared memory could not be made, sealed, checked or mapped.
    #[error("shared memory: {what}: {source}")]
    SharedMemory {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// No frame or segment has this number.
    #[error("buffer {0} not found")]
    BufferNotFound(u32),
    /// The frame holds other elements than were asked for.
    #[error("type mismatch: expected {expected}, got {got}")]
    TypeMismatch {
        /// What the caller asked for.
        expected: DType,
        /// What the frame holds.
        got: DType,
    },
    /// A write to memory that may only be read.
    #[error("the memory is read-only")]
    ReadOnly,
    /// The frame was given back already.
    #[error("the frame was released already")]
    AlreadyReleased,
    /// A shape, its strides and the frame's size do not fit together.
    #[error("invalid shape: {0}")]
    InvalidShape(String),
    /// The CUDA driver reported an error, or CUDA is not built in.
    #[error("CUDA: {0}")]
    Cuda(String),

    /// A setting is out of its range.
    #[error("{0}")]
    InvalidSetting(String),
    /// A channel name or a socket path cannot be used.
    #[error("{}: {reason}", path.display())]
    BadPath {
        /// The path meant.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A system call on the control connection failed.
    #[error("{what}: {source}")]
    Socket {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Another live producer has the socket.
    #[error("{} belongs to a running producer (pid {pid}): stop it, or choose another channel or socket-path", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
        /// The producer's process id, 0 where it can't be seen from here.
        pid: u32,
    },
    /// No producer answered in time.
    #[error("no producer at {}{}: start one, or raise connection-timeout", path.display(), within(*.waited))]
    NoProducer {
        /// The socket's path.
        path: PathBuf,
        /// How long was waited.
        waited: std::time::Duration,
    },
    /// The producer refused this client and said why.
    #[error("refused by the producer: {reason}")]
    Refused {
        /// The producer's words.
        reason: String,
        /// Whether trying later can help.
        retryable: bool,
    },
    /// The peer sent something that the protocol forbids.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),

    /// No slot is left: every one is held by the producer itself.
    #[error(
        "all {slots} slots are in the producer's own hands and max-buffers ({max}) allows no more: raise max-buffers"
    )]
    Exhausted {
        /// How many slots there are.
        slots: u32,
        /// The limit.
        max: u32,
    },
    /// The time given has passed.
    #[error("timed out")]
    TimedOut,
    /// [`Canceller::cancel`](crate::Canceller::cancel) was called.
    #[error("cancelled")]
    Cancelled,
    /// The producer ended the stream, and every frame before the end was received.
    #[error("end of stream")]
    EndOfStream,
    /// The producer stopped in good order, without ending the stream.
    #[error("the producer stopped")]
    Stopped,
    /// This process was forked from the one that opened the channel or connected. What that one
    /// has stays its own: whatever the child drops is neither closed nor given back.
    #[error(
        "this process was forked from the one that has the channel: open or connect anew in it"
    )]
    Forked,
    /// The producer is gone without a word: it crashed or was killed.
    #[error("the producer is gone: {0}")]
    Disconnected(String),
}

/// How long was waited, where it was.
fn within(waited: std::time::Duration) -> String {
    match waited.is_zero() {
        true => String::new(),
        false => format!(" within {waited:?}"),
    }
}

impl Error {
    /// Whether connecting again can help.
    ///
    /// True where a producer is missing, stopped, crashed or full; false where the same attempt
    /// would fail the same way: a wrong path or setting, a missing permission, another version.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NoProducer { .. }
            | Error::TimedOut
            | Error::Stopped
            | Error::Disconnected(_) => true,
            Error::Refused { retryable, .. } => *retryable,
            _ => false,
        }
    }

    pub(crate) fn memory(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |errno| Error::SharedMemory {
            what,
            source: errno.into(),
        }
    }

    pub(crate) fn socket(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |errno| Error::Socket {
            what: what.into(),
            source: errno.into(),
        }
    }
}
