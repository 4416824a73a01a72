//! Whether this is still the process that something was made in, or a child forked off it.
//!
//! A child has copies of its parent's values, but shares its mappings, sockets and eventfds: what
//! it drops or changes there would be its parent's. Nor do its parent's threads exist in it.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use once_cell::sync::OnceCell;
use rustix::io::Errno;

/// One of the kernel's pages, of whatever size they are.
const LEN: usize = 4096;

/// The process that something was made in: a number that neither its children nor those that it
/// was forked off have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(u32);

impl Origin {
    /// This process.
    pub(crate) fn here() -> Origin {
        mark().map_or(Origin(0), |mark| Origin::marked(mark, &NEXT))
    }

    /// The number; 0 where the kernel can't tell processes apart so.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// This process, whose number is in `mark` or becomes the one after `next`.
    ///
    /// A child has a copy of `next`, where all numbers are that it has inherited. Process ids
    /// would not do: in a namespace of its own a child can have its parent's.
    fn marked(mark: &AtomicU32, next: &AtomicU32) -> Origin {
        let number = next.fetch_add(1, Ordering::Relaxed) + 1;
        match mark.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Origin(number),
            Err(marked) => Origin(marked),
        }
    }

    /// Whether this process is the one. A load, no system call.
    pub(crate) fn is_here(self) -> bool {
        // 0 where the kernel can't tell (before Linux 4.14): then nothing is known of children.
        self.0 == 0 || mark().is_some_and(|mark| mark.load(Ordering::Relaxed) == self.0)
    }
}

/// How many numbers were given to this process and to those it was forked off.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A word that the kernel makes 0 in every child: in a process it is 0 or that process's number.
/// `None` if the kernel can't do that (before Linux 4.14), or has no memory for it now. A later call
/// tries again.
fn mark() -> Option<&'static AtomicU32> {
    static MARK: OnceCell<&'static AtomicU32> = OnceCell::new();
    MARK.get_or_try_init(map_mark).ok().copied()
}

/// Maps the page of the [`mark`], for as long as the process lives.
fn map_mark() -> Result<&'static AtomicU32, Errno> {
    let last_error = || Errno::from_io_error(&std::io::Error::last_os_error());
    let failed = || last_error().unwrap_or(Errno::NOMEM);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without MAP_FIXED the kernel chooses a range where nothing is mapped, and without a
    // file the range holds zeroes.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), LEN, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(failed());
    }
    // SAFETY: the range was just mapped, and nothing else uses it yet. From here on a child finds
    // zeroes in it, which are a valid value of the word.
    let marked = unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) };
    if marked != 0 {
        let error = failed();
        // SAFETY: the range was just mapped, and nothing refers to it.
        unsafe { libc::munmap(page, LEN) };
        return Err(error);
    }
    // SAFETY: the page is mapped, readable, writable and aligned, and stays so until the process ends,
    // also in children. All accesses to it are those of this atomic.
    Ok(unsafe { &*page.cast::<AtomicU32>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_a_number_of_its_own() {
        let (mark, next) = (AtomicU32::new(0), AtomicU32::new(0));
        let parent = Origin::marked(&mark, &next);
        assert_eq!(Origin::marked(&mark, &next), parent);
        // What a child finds: no mark, and how far its parent had counted.
        let (mark, next) = (AtomicU32::new(0), AtomicU32::new(next.into_inner()));
        let child = Origin::marked(&mark, &next);
        assert_ne!(child, parent);
        assert_eq!(Origin::marked(&mark, &next), child);
        assert!(Origin::here().is_here());
    }
}
