//! Page faults of any duration: with userfaultfd for memory of the own process, if the process may
//! use it, and with a file of a FUSE file system elsewhere.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

fn answer(result: i64) -> Result<i64, Errno> {
    match result {
        -1 => {
            let error = std::io::Error::last_os_error();
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        other => Ok(other),
    }
}

/// A page of memory whose first page fault lasts until [`Faults::end`].
#[derive(Debug)]
pub struct Faults {
    fd: OwnedFd,
    /// The start of a mapping of `PAGE` bytes. The mapping stays as long as the process lives, and
    /// only the kernel accesses it.
    page: usize,
}

const PAGE: usize = 4096;

/// The kernel's `struct uffdio_api`, `uffdio_range` and `uffdio_register`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
const UFFDIO_UNREGISTER: libc::Ioctl = 0x8010_aa01;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

impl Faults {
    /// Creates the page; `None` if the kernel does not allow userfaultfd to this process.
    pub fn open() -> Option<Faults> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: without MAP_FIXED the kernel chooses a range that contains no mapping.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the call takes flags only.
        let fd = answer(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) }).ok()?;
        // SAFETY: the descriptor is new, and no other value owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let page = page as usize;
        let faults = Faults { fd, page };
        let mut api = Api {
            api: UFFD_API,
            features: 0,
            ioctls: 0,
        };
        let mut register = Register {
            range: faults.range(),
            mode: UFFDIO_REGISTER_MODE_MISSING,
            ioctls: 0,
        };
        let fd = faults.fd.as_raw_fd();
        // SAFETY: the structures have the layout of the kernel's, and the calls write to nothing
        // else; the range is a mapping that this value owns.
        unsafe {
            answer(libc::ioctl(fd, UFFDIO_API, &raw mut api).into()).ok()?;
            answer(libc::ioctl(fd, UFFDIO_REGISTER, &raw mut register).into()).ok()?;
        }
        Some(faults)
    }

    fn range(&self) -> Range {
        Range {
            start: self.page as u64,
            len: PAGE as u64,
        }
    }

    /// Writes a byte of the page to a file. The kernel holds the lock of the file meanwhile.
    /// Returns after [`Faults::end`].
    ///
    /// # Errors
    /// The error of the kernel.
    pub fn write_to(&self, file: impl AsFd) -> Result<(), Errno> {
        let (file, page) = (file.as_fd().as_raw_fd(), self.page as *const libc::c_void);
        // SAFETY: the page stays mapped as long as the process lives.
        answer(unsafe { libc::pwrite(file, page, 1, 0) } as i64).map(drop)
    }

    /// Reads a byte of a file, at its position, into the page. The kernel holds the lock of the
    /// open file description meanwhile, if its position has one. Returns after [`Faults::end`].
    ///
    /// # Errors
    /// The error of the kernel.
    pub fn read_from(&self, file: impl AsFd) -> Result<(), Errno> {
        let (file, page) = (file.as_fd().as_raw_fd(), self.page as *mut libc::c_void);
        // SAFETY: the page stays mapped as long as the process lives, and only the kernel accesses
        // it.
        answer(unsafe { libc::read(file, page, 1) } as i64).map(drop)
    }

    /// Ends the page fault. The page is then like any other.
    pub fn end(&self) {
        let mut range = self.range();
        // SAFETY: as in `open`.
        let _ = unsafe { libc::ioctl(self.fd.as_raw_fd(), UFFDIO_UNREGISTER, &raw mut range) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;
    use crate::process::until_asleep;

    #[test]
    fn a_write_from_the_page_lasts_until_the_fault_is_ended() {
        let Some(faults) = Faults::open() else {
            eprintln!("not tried: this process may not use userfaultfd");
            return;
        };
        let file = memfd_create("held", MemfdFlags::CLOEXEC).unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("writer".into());
            let write = || {
                faults.write_to(&file).unwrap();
                assert!(ended.load(Ordering::Relaxed));
            };
            let writer = thread.spawn_scoped(scope, write).unwrap();
            until_asleep(std::process::id(), "writer");
            ended.store(true, Ordering::Relaxed);
            faults.end();
            writer.join().unwrap();
        });
    }
}
