//! What to do about a path that can't be used.

/// What to do about the path of [`Error::BadPath`](crate::Error::BadPath), where that depends on
/// settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathAdvice {
    /// This user can't write the directory.
    #[error(
        "a producer needs a directory that its user can write. Make this one writable, or choose \
         another, which may be a subdirectory, with XMEM_RUNTIME_DIR (mode 0700) or a socket path"
    )]
    Writable,
    /// The directory belongs to another user.
    #[error(
        "to share a channel with other users, use a socket path, and set perms of the producer; \
         else set XMEM_RUNTIME_DIR to a directory of user {uid} with mode 0700, which may be a \
         subdirectory"
    )]
    Own {
        /// This user.
        uid: u32,
    },
    /// Other users can look into the directory, or write it.
    #[error(
        "chmod 700 it, or set XMEM_RUNTIME_DIR to a subdirectory with mode 0700; to share a channel \
         with other users, use a socket path, and set perms of the producer"
    )]
    Private,
}
