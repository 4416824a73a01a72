//! Sleepers that are not threads: `IORING_OP_FUTEX_WAIT` (Linux 6.7).
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::count;

const ENTRIES: u32 = 4096;
const SETUP_CQSIZE: u32 = 1 << 3;
const ENTER_GETEVENTS: u32 = 1;
const FUTEX_WAIT: u8 = 51;
const FUTEX2_SIZE_U32: i32 = 2;
/// The offsets at which the rings are mapped from the descriptor of the kernel.
const SQ_RING: i64 = 0;
const CQ_RING: i64 = 0x800_0000;
const SQES: i64 = 0x1000_0000;

/// The kernel's `struct io_uring_params`. Fields that are not used here are placeholders.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    others: [u32; 7],
    /// `struct io_sqring_offsets` and `struct io_cqring_offsets`.
    sq: [u32; 10],
    cq: [u32; 10],
}

/// Indices of the fields of these structures.
const HEAD: usize = 0;
const TAIL: usize = 1;
const MASK: usize = 2;
const COMPLETIONS: usize = 5;
const INDICES: usize = 6;
/// The byte offset of the result in a completion (`struct io_uring_cqe`).
const RESULT: usize = 8;

/// `struct io_uring_sqe` of a futex wait.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    value: u64,
    word: u64,
    len: u32,
    futex_flags: u32,
    user_data: u64,
    others: [u32; 2],
    mask: u64,
    pad: u64,
}

/// Keeps `number` waits on a word in flight, from a thread of its own.
pub(crate) fn start(word: &'static AtomicU32, number: usize) {
    std::thread::spawn(move || Ring::open().keep(word, number));
}

struct Ring {
    fd: OwnedFd,
    submissions: *const u8,
    completions: *const u8,
    entries: *mut Entry,
    params: Params,
}

impl Ring {
    fn open() -> Ring {
        let mut params = Params {
            flags: SETUP_CQSIZE,
            cq_entries: 16 * ENTRIES,
            ..Params::default()
        };
        // SAFETY: the structure has the size and layout of the kernel's, and the call writes to
        // nothing else.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) };
        assert!(fd >= 0, "io_uring: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and no other value owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let map = |len: usize, offset| {
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            // SAFETY: without MAP_FIXED the kernel chooses a range that contains no mapping.
            let start =
                unsafe { libc::mmap(ptr::null_mut(), len, access, flags, fd.as_raw_fd(), offset) };
            assert_ne!(start, libc::MAP_FAILED, "a ring of io_uring");
            start.cast::<u8>()
        };
        let array = params.sq[INDICES] as usize;
        Ring {
            submissions: map(array + 4 * params.sq_entries as usize, SQ_RING),
            completions: map(
                params.cq[COMPLETIONS] as usize + 16 * params.cq_entries as usize,
                CQ_RING,
            ),
            entries: map(size_of::<Entry>() * params.sq_entries as usize, SQES).cast(),
            fd,
            params,
        }
    }

    /// A word of one of the rings.
    fn word(ring: *const u8, offset: usize) -> &'static AtomicU32 {
        // SAFETY: the offset is from the kernel, or lies within the array whose size the kernel
        // reported. The mapping stays as long as the process lives, and both sides access the word
        // as an atomic.
        unsafe { AtomicU32::from_ptr(ring.add(offset).cast_mut().cast()) }
    }

    fn keep(self, word: &'static AtomicU32, number: usize) {
        let (sq, cq) = (&self.params.sq, &self.params.cq);
        let of_sq = |what: usize| Ring::word(self.submissions, sq[what] as usize);
        let of_cq = |what: usize| Ring::word(self.completions, cq[what] as usize);
        let mask = of_sq(MASK).load(Ordering::Relaxed);
        let mut under_way = 0;
        loop {
            let batch = (number - under_way).min(ENTRIES as usize) as u32;
            let tail = of_sq(TAIL).load(Ordering::Relaxed);
            for at in tail..tail.wrapping_add(batch) {
                let at = at & mask;
                let entry = Entry {
                    opcode: FUTEX_WAIT,
                    flags: 0,
                    ioprio: 0,
                    fd: FUTEX2_SIZE_U32,
                    value: u64::from(word.load(Ordering::Relaxed)),
                    word: word.as_ptr() as u64,
                    len: 0,
                    futex_flags: 0,
                    user_data: 0,
                    others: [0; 2],
                    mask: u64::from(u32::MAX),
                    pad: 0,
                };
                // SAFETY: the index is below the number of entries, and the kernel reads the entry
                // after the tail has moved past it.
                unsafe { self.entries.add(at as usize).write(entry) };
                let index = sq[INDICES] + 4 * at;
                Ring::word(self.submissions, index as usize).store(at, Ordering::Relaxed);
            }
            of_sq(TAIL).store(tail.wrapping_add(batch), Ordering::Release);
            let (wait, flags) = match batch {
                0 => (1, ENTER_GETEVENTS),
                _ => (0, 0),
            };
            // SAFETY: the call takes numbers only, and the entries that the kernel reads have been
            // written.
            let submitted = unsafe {
                let fd = self.fd.as_raw_fd();
                libc::syscall(libc::SYS_io_uring_enter, fd, batch, wait, flags, 0, 0)
            };
            under_way += submitted.max(0) as usize;
            let head = of_cq(HEAD).load(Ordering::Relaxed);
            let done = of_cq(TAIL).load(Ordering::Acquire).wrapping_sub(head);
            // If the word changed before the wait began, the wait fails and does not count.
            let mask = of_cq(MASK).load(Ordering::Relaxed);
            for at in 0..done {
                let completion = 16 * (head.wrapping_add(at) & mask) as usize;
                let result = cq[COMPLETIONS] as usize + completion + RESULT;
                count(Ring::word(self.completions, result).load(Ordering::Relaxed) == 0);
            }
            of_cq(HEAD).store(head.wrapping_add(done), Ordering::Release);
            under_way -= done as usize;
        }
    }
}
