//! Whether other processes have a file open, or map it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::error::Result;
use crate::sys::memfd;

// <fcntl.h>; the libc crate does not name the second.
const F_SETLEASE: libc::c_int = 1024;
const F_SETSIG: libc::c_int = 10;

/// A descriptor to ask [`has_others`] with.
///
/// # Errors
/// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) without a descriptor.
pub(crate) fn open_to_look(fd: impl AsFd) -> Result<OwnedFd> {
    memfd::reopen_read_only(fd)
}

/// Whether a file is open besides this descriptor, of [`open_to_look`], which is the only one of its
/// open file. True where the kernel does not tell.
///
/// The kernel grants a write lease on a file (`fcntl(2)`, `F_SETLEASE`) only if no other open file
/// description of it exists. A mapping keeps one open. The lease is given back at once.
pub(crate) fn has_others(fd: &OwnedFd) -> bool {
    // If a process opens the file meanwhile, the kernel sends a signal. The default action of SIGURG is
    // to ignore it; without that, there is no look.
    if !control(fd, F_SETSIG, libc::SIGURG) || !control(fd, F_SETLEASE, libc::F_WRLCK) {
        return true;
    }
    control(fd, F_SETLEASE, libc::F_UNLCK);
    false
}

fn control(fd: &OwnedFd, command: libc::c_int, argument: libc::c_int) -> bool {
    // SAFETY: these commands take an integer and touch no memory of this process; the descriptor is
    // open as long as it is borrowed.
    unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) != -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::AccessMode;
    use crate::sys::fixed_file::FixedFile;
    use crate::sys::mapping::Mapping;
    use crate::sys::seals;

    #[test]
    fn another_descriptor_or_a_mapping_is_noticed() {
        let seals = seals::producer_seals();
        let (made, mapping) = memfd::create("xmem-test", 4096, seals).unwrap();
        let passed = memfd::reopen_read_only(made).unwrap();
        drop(mapping);
        let look = open_to_look(&passed).unwrap();
        assert!(has_others(&look));
        let copy = passed.try_clone().unwrap();
        drop(passed);
        assert!(has_others(&look));
        let (file, _) = FixedFile::memfd(&copy, seals).unwrap();
        let mapping = Mapping::new(&file, AccessMode::ReadOnly).unwrap();
        drop(copy);
        assert!(has_others(&look));
        drop(mapping);
        assert!(!has_others(&look));
        // And again, as the question leaves nothing behind.
        assert!(!has_others(&look));
    }
}
