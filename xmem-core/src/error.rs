//! The one error type of the crate.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::dtype::{DType, StorageType};

mod cuda;
pub(crate) mod kind;
mod path_advice;
mod refusal;
mod resource;
mod setting;

pub use cuda::CudaError;
pub use path_advice::PathAdvice;
pub use refusal::{Disconnection, Refusal};
pub use resource::Resource;
pub use setting::Setting;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. The text says what helps, in the words of this crate's API. Settings and limits are
/// data, too, so that a binding can write its own texts.
///
/// [`kind`](Error::kind) is the error without its details, for bindings;
/// [`is_retryable`](Error::is_retryable) tells whether connecting again can help. The text includes the
/// system's answer; [`source`](std::error::Error::source) repeats nothing that the text says.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use xmem_core::{Channel, Error, Subscriber};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # #[cfg(any())]
/// let channel = Channel::name("cam0");
/// let connected = Subscriber::builder(channel).connect_timeout(Some(Duration::ZERO)).connect();
/// match connected {
///     Ok(_) => println!("there is a producer"),
///     Err(Error::NoProducer { path, .. }) => println!("none at {}", path.display()),
///     Err(error) if error.is_retryable() => println!("later, perhaps: {error}"),
///     Err(error) => println!("{}: {error}", error.kind()),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A piece of shared memory could not be made, sealed, checked or mapped.
    #[error("shared memory: {what}: {answer}{}", allow(.answer))]
    SharedMemory {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        answer: io::Error,
    },
    /// The system has no more of something that was asked for. It may have later.
    #[error("{what}: {resource}")]
    ResourceExhausted {
        /// What was being done.
        what: String,
        /// What is missing, and what helps.
        resource: Resource,
        /// The system's answer.
        source: io::Error,
    },
    /// The frame holds other elements than were asked for.
    #[error("the frame holds elements of {found}, not of {expected}")]
    TypeMismatch {
        /// What the caller asked for.
        expected: DType,
        /// What the frame holds.
        found: DType,
    },
    /// A shape, its strides and the frame's size do not fit together.
    #[error("invalid shape: {0}")]
    InvalidShape(String),
    /// The frame is in memory of another kind than the call is for. What is in memory of a CUDA device is
    /// not read by the CPU, for example.
    #[error("the frame is in {0} memory, and this call is for frames in other memory")]
    WrongStorage(StorageType),

    /// A setting is out of its range.
    #[error("{setting} must be {} (is {value})", within_range(.range))]
    InvalidSetting {
        /// Which one.
        setting: Setting,
        /// What it is.
        value: u64,
        /// What it may be.
        range: RangeInclusive<u64>,
    },
    /// Something is longer than what can be sent.
    #[error("{what} of {size} bytes is too long: send at most {most} bytes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        size: usize,
        /// The largest length.
        most: usize,
    },
    /// Memory that the caller gives can't be used. The text says why, and what helps.
    #[error("{0}")]
    BadMemory(String),
    /// A channel name or a socket path cannot be used.
    #[error("{}: {reason}{}", path.display(), advice.map(|advice| format!(": {advice}")).unwrap_or_default())]
    BadPath {
        /// The path meant.
        path: PathBuf,
        /// What is wrong with it, and what helps that is no setting.
        reason: String,
        /// What to set.
        advice: Option<PathAdvice>,
    },
    /// A system call on the control connection failed.
    #[error("{what}: {answer}{}", allow(.answer))]
    Socket {
        /// What was being done.
        what: String,
        /// The system's answer.
        answer: io::Error,
    },
    /// Another live producer has the socket.
    #[error("{} belongs to a running producer ({}): stop it, or choose another channel or socket path", path.display(), process(*.pid))]
    InUse {
        /// The socket's path.
        path: PathBuf,
        /// The producer's process id, `None` where it can't be seen from here.
        pid: Option<u32>,
    },
    /// No producer answered in time.
    #[error("no producer at {}{}: start one, or raise connect_timeout", path.display(), within(*.waited))]
    NoProducer {
        /// The socket's path.
        path: PathBuf,
        /// How long the client has waited.
        waited: std::time::Duration,
    },
    /// There is a producer, and it did not answer in time.
    #[error("the producer at {} did not answer{}: it is stopped, or has no descriptors left; or raise connect_timeout", path.display(), within(*.waited))]
    NoAnswer {
        /// The socket's path.
        path: PathBuf,
        /// How long the client has waited.
        waited: std::time::Duration,
    },
    /// The producer refused this client and said why.
    #[error("refused by the producer: {0}")]
    Refused(Refusal),
    /// The peer sent something that the protocol forbids.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),

    /// No slot is left: every one is held by the producer itself.
    #[error(
        "the producer itself holds all {slots} slots, and max_slots ({max}) allows no more: raise max_slots"
    )]
    Exhausted {
        /// How many slots there are.
        slots: u32,
        /// The limit.
        max: u32,
    },
    /// CUDA can't be used, or a call of its driver failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The memory that a frame is in is not mapped for the CPU.
    #[error("the frame's memory is not mapped: map it before its bytes are read (Frame::map)")]
    NotMapped,
    /// Memory that other processes may write can't be shared: there are clients that take none.
    #[error(
        "{clients} client(s) take no memory that other processes may write or punch holes into: \
         copy the frame, or allow such memory in the clients (unsealed_memory)"
    )]
    UnsealedMemory {
        /// How many clients.
        clients: u32,
    },
    /// The time given has passed.
    #[error("timed out")]
    TimedOut,
    /// The time given has passed, and all the while this client has held as many frames as it may.
    #[error(
        "the client holds all {leases} frames that it may: drop frames, or ask for more leases"
    )]
    Starved {
        /// How many frames the client may hold.
        leases: u32,
    },
    /// [`Canceller::cancel`](crate::Canceller::cancel) was called.
    #[error("cancelled")]
    Cancelled,
    /// The producer ended the stream, and every frame before the end was received.
    #[error("end of stream")]
    EndOfStream,
    /// The producer stopped in good order, without ending the stream.
    #[error("the producer stopped")]
    Stopped,
    /// A callback of this process has panicked, or a thread of xmem's, and the channel or the
    /// connection has ended with that.
    #[error("the channel has failed: {0}")]
    Failed(String),
    /// This process was forked from the one that opened the channel or connected. What that one
    /// has stays its own: whatever the child drops is neither closed nor given back.
    #[error(
        "this process was forked from the one that has the channel: open or connect again in it"
    )]
    Forked,
    /// The producer is gone without a word: it crashed or was killed. Or it has evicted this client.
    #[error("{0}")]
    Disconnected(Disconnection),
}

/// What helps where a system call is refused whatever its arguments are.
fn allow(answer: &io::Error) -> &'static str {
    match Errno::from_io_error(answer) {
        Some(Errno::PERM) => {
            ": in a container or a service, its seccomp profile may refuse the system call: allow \
             it there"
        }
        Some(Errno::NOSYS) => {
            ": this kernel does not have the system call, or the seccomp profile of the container \
             or service refuses it: allow it there"
        }
        _ => "",
    }
}

/// A process, by its id where that can be seen from here.
fn process(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("pid {pid}"),
        None => "in another PID namespace, or too busy to answer".into(),
    }
}

/// How long was waited, where it was.
fn within(waited: std::time::Duration) -> String {
    if waited.is_zero() {
        String::new()
    } else {
        format!(" within {waited:?}")
    }
}

/// What a setting may be.
fn within_range(range: &RangeInclusive<u64>) -> String {
    match (range.start(), range.end()) {
        (least, &u64::MAX) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    }
}

impl Error {
    /// Whether connecting again can help.
    ///
    /// True where a producer is missing, stopped, crashed or full, or the system has no more of
    /// something; false where the same attempt would fail the same way: a wrong path or setting, a
    /// missing permission, another version.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NoProducer { .. }
            | Error::NoAnswer { .. }
            | Error::ResourceExhausted { .. }
            | Error::TimedOut
            | Error::Stopped
            | Error::Disconnected(_) => true,
            Error::Refused(refusal) => refusal.is_retryable(),
            _ => false,
        }
    }

    /// An error where a setting is out of its range.
    pub(crate) fn check_setting(
        setting: Setting,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> Result<()> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting,
            value,
            range,
        })
    }

    /// An error where something is too long to be sent.
    pub(crate) fn check_length(what: &'static str, size: usize, most: usize) -> Result<()> {
        if size <= most {
            return Ok(());
        }
        Err(Error::TooLong { what, size, most })
    }

    /// The error of a call that makes, maps or checks shared memory.
    pub(crate) fn memory<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |answer| {
            let source = answer.into();
            match Resource::missing(&source) {
                // Memory of the machine has no file system that could be full.
                Some(Resource::Space) => Error::exhausted(what, Resource::Memory, source),
                Some(resource) => Error::exhausted(what, resource, source),
                None => Error::SharedMemory {
                    what,
                    answer: source,
                },
            }
        }
    }

    /// The error of any other call.
    pub(crate) fn socket<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
        move |answer| {
            let (what, source) = (what.into(), answer.into());
            match Resource::missing(&source) {
                Some(resource) => Error::exhausted(what, resource, source),
                None => Error::Socket {
                    what,
                    answer: source,
                },
            }
        }
    }

    /// The error of a call that starts a thread.
    pub(crate) fn thread(source: io::Error) -> Error {
        let what = "starting the control thread (clone3 or clone)";
        match Errno::from_io_error(&source) {
            Some(Errno::AGAIN) => Error::exhausted(what, Resource::Threads, source),
            _ => Error::socket(what)(source),
        }
    }

    /// The error of a call on a path: it can't be used, unless something has run out.
    pub(crate) fn path<E: Into<io::Error>>(path: &Path, doing: &str) -> impl FnOnce(E) -> Error {
        move |answer| {
            let source = answer.into();
            if let Some(resource) = Resource::missing(&source) {
                let what = format!("{}: {doing}", path.display());
                return Error::exhausted(what, resource, source);
            }
            let (reason, advice) = match Errno::from_io_error(&source) {
                Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
                    (format!("{doing}: {source}"), Some(PathAdvice::Writable))
                }
                _ => (format!("{doing}: {source}{}", allow(&source)), None),
            };
            let path = path.into();
            Error::BadPath {
                path,
                reason,
                advice,
            }
        }
    }

    pub(crate) fn exhausted(
        what: impl Into<String>,
        resource: Resource,
        source: io::Error,
    ) -> Error {
        Error::ResourceExhausted {
            what: what.into(),
            resource,
            source,
        }
    }

    /// Says of what has run out what it was wanted for.
    pub(crate) fn doing(self, doing: impl FnOnce() -> String) -> Error {
        match self {
            Error::ResourceExhausted {
                resource, source, ..
            } => Error::exhausted(doing(), resource, source),
            other => other,
        }
    }
}
