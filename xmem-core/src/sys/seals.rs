//! Seals of memfds: what each set of them guarantees, adding them, checking them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{self, SealFlags};
use rustix::io::Errno;

use super::closer;
use super::futex::{Wait, WakeWord};
use crate::error::{Error, Resource, Result};

/// The size is fixed, so that no process that has the memory mapped is killed by a SIGBUS.
pub(crate) fn size_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW
}

/// Besides, only mappings that are older can write it (Linux 5.1): no new mapping, no `write`, and
/// no hole is punched into it by any process.
pub(crate) fn producer_seals() -> SealFlags {
    size_seals() | SealFlags::FUTURE_WRITE | SealFlags::SEAL
}

/// Whether no process can write the memory, or punch a hole into it, but by a mapping that is
/// older than the seal.
pub(crate) fn is_write_sealed(seals: SealFlags) -> bool {
    seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
}

/// An error where [that](is_write_sealed) is not so.
pub(crate) fn check_write_sealed(fd: impl AsFd) -> Result<()> {
    let found = seals_of(fd)?.unwrap_or(SealFlags::empty());
    if !is_write_sealed(found) {
        return Err(Error::Protocol(format!(
            "a memfd has the seals {found:?}, one against writing is needed"
        )));
    }
    Ok(())
}

/// Adds seals.
pub(crate) fn seal(fd: impl AsFd, seals: SealFlags) -> Result<()> {
    fs::fcntl_add_seals(fd, seals).map_err(not_sealed())
}

/// The error of a seal that could not be added.
pub(crate) fn not_sealed() -> impl FnOnce(Errno) -> Error {
    Error::memory("sealing (fcntl F_ADD_SEALS)")
}

/// The seals of a memfd; `None` of what is none.
pub(crate) fn seals_of(fd: impl AsFd) -> Result<Option<SealFlags>> {
    match fs::fcntl_get_seals(fd) {
        Ok(seals) => Ok(Some(seals)),
        // BADF: a descriptor of its path alone (O_PATH).
        Err(Errno::INVAL | Errno::BADF) => Ok(None),
        Err(errno) => Err(Error::memory("looking at seals (fcntl F_GET_SEALS)")(errno)),
    }
}

/// An error where memory that another process made, or seals, lacks one of these seals.
pub(crate) fn check_seals(fd: impl AsFd, seals: SealFlags) -> Result<()> {
    let Some(found) = seals_of(fd)? else {
        let what = "the peer passed something that is not a memfd";
        return Err(Error::Protocol(what.into()));
    };
    if !found.contains(seals) {
        return Err(Error::Protocol(format!(
            "a memfd has the seals {found:?}, {seals:?} are needed"
        )));
    }
    Ok(())
}

/// Seals that are being added, by a thread that nothing else depends on.
pub(crate) struct Sealing {
    answer: OnceLock<rustix::io::Result<()>>,
    /// Signalled when there is an answer.
    wake_word: WakeWord,
}

impl Sealing {
    /// Adds seals to a file that another process can write. The kernel holds the file's lock during
    /// a write, and a process can write from memory whose page fault does not end: then the answer
    /// does not come, and no signal ends the wait for it.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] without a thread.
    pub(crate) fn start(fd: OwnedFd, seals: SealFlags) -> Result<Arc<Sealing>> {
        let sealing = Arc::new(Sealing {
            answer: OnceLock::new(),
            wake_word: WakeWord::default(),
        });
        let started = sealing.clone();
        let task = move || {
            let answer = fs::fcntl_add_seals(&fd, seals);
            drop(fd);
            // It is the first.
            let _ = started.answer.set(answer);
            started.wake_word.signal();
        };
        closer::run(task).map_err(|source| {
            let resource = match Errno::from_io_error(&source) {
                Some(Errno::BUSY) => Resource::Closing,
                _ => Resource::Threads,
            };
            Error::exhausted(
                "starting a thread that seals the lease page",
                resource,
                source,
            )
        })?;
        Ok(sealing)
    }

    /// The entry for a wait that ends when there is an answer. Look for that afterwards.
    pub(crate) fn wait(&self) -> Wait<'_> {
        self.wake_word.since(self.wake_word.snapshot())
    }

    /// The kernel's answer, where there is one.
    pub(crate) fn answer(&self) -> Option<rustix::io::Result<()>> {
        self.answer.get().copied()
    }
}
