//! What the system can run out of.

use std::io;

use rustix::io::Errno;

/// What the system can run out of. Its text says which limit that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Resource {
    /// Memory, or addresses for it.
    #[error(
        "not enough memory, on this machine, in the control group or under RLIMIT_AS (ulimit -v): \
         allow more, or need less with smaller frames, fewer leases or a lower max_slots"
    )]
    Memory,
    /// Bytes of one file, which shared memory counts as.
    #[error("larger than a file may be (RLIMIT_FSIZE): raise the limit (ulimit -f)")]
    FileSize,
    /// Descriptors of this process.
    #[error("too many open files (RLIMIT_NOFILE): raise the limit (ulimit -n)")]
    Descriptors,
    /// Open files of the machine.
    #[error("too many open files on this machine: raise the limit (sysctl fs.file-max)")]
    OpenFiles,
    /// Threads of this user, or of the control group.
    #[error(
        "too many threads (RLIMIT_NPROC, or the control group's pids.max): raise the limit \
         (ulimit -u)"
    )]
    Threads,
    /// Threads that close what other processes have passed.
    #[error(
        "64 connections that were closed can't be released: the processes at their other ends have \
         passed descriptors whose close does not end (a socket that lingers, a file whose file \
         system hangs): end those processes"
    )]
    Closing,
    /// Room, or names, on a file system.
    #[error(
        "the file system is full, or has no inode left: make room, or choose another directory \
         with XMEM_RUNTIME_DIR or a socket path"
    )]
    Space,
    /// Memory of a CUDA device.
    #[error(
        "the device has not enough memory: end other programs that use it, or need less with \
         smaller frames, fewer leases or a lower max_slots"
    )]
    DeviceMemory,
}

impl Resource {
    /// What an answer of the system says is missing, if it says so.
    pub(super) fn missing(answer: &io::Error) -> Option<Resource> {
        match Errno::from_io_error(answer)? {
            Errno::NOMEM | Errno::NOBUFS => Some(Resource::Memory),
            Errno::FBIG => Some(Resource::FileSize),
            Errno::MFILE => Some(Resource::Descriptors),
            Errno::NFILE => Some(Resource::OpenFiles),
            Errno::NOSPC | Errno::DQUOT => Some(Resource::Space),
            _ => None,
        }
    }
}
