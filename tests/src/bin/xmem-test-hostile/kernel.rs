//! System calls that no client needs.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use xmem_tests::area::Area;

fn answer(result: i64) -> Result<i64, Errno> {
    match result {
        -1 => {
            let error = std::io::Error::last_os_error();
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        other => Ok(other),
    }
}

/// A futex call that may sleep for at most `time`.
pub(crate) fn futex_sleep(
    word: &AtomicU32,
    operation: i32,
    value: u32,
    time: Duration,
    other: &AtomicU32,
) -> Result<i64, Errno> {
    let is_absolute = operation != libc::FUTEX_WAIT;
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if is_absolute {
        // The kernel measures the timeout of a lock on this clock.
        let clock = match operation {
            libc::FUTEX_LOCK_PI => libc::CLOCK_REALTIME,
            _ => libc::CLOCK_MONOTONIC,
        };
        // SAFETY: the call writes to `now` only.
        unsafe { libc::clock_gettime(clock, &raw mut now) };
    }
    let nanoseconds = now.tv_nsec as u64 + u64::from(time.subsec_nanos());
    let until = libc::timespec {
        tv_sec: now.tv_sec + time.as_secs() as i64 + (nanoseconds / 1_000_000_000) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    };
    // SAFETY: the words and the time are borrowed for the whole call. The kernel changes no memory
    // but these words, and it changes them atomically.
    answer(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            value,
            &raw const until,
            other.as_ptr(),
            u32::MAX,
        )
    })
}

/// A futex call with numbers: how many sleepers to wake, how many to requeue, and a value.
pub(crate) fn futex_act(
    word: &AtomicU32,
    operation: i32,
    wake: u32,
    move_on: u32,
    other: &AtomicU32,
    value: u32,
) -> Result<i64, Errno> {
    // SAFETY: as in `futex_sleep`; in these calls the fourth argument is a number.
    answer(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            wake,
            move_on as usize,
            other.as_ptr(),
            value,
        )
    })
}

/// Calls `madvise` for a range of an area.
pub(crate) fn advise(area: &Area, len: usize, advice: i32) -> Result<(), Errno> {
    let start = area.bytes().as_ptr().cast_mut().cast();
    // SAFETY: the range is a mapping of a file, which is accessed through atomics only. No advice
    // that is given here removes the mapping, and its bytes may have any value.
    answer(unsafe { libc::madvise(start, len, advice) }.into()).map(drop)
}

/// Calls `mlock`, `munlock`, `msync` and `mincore` on an area, and `sync_file_range` on its file.
pub(crate) fn disturb(area: &Area, len: usize, file: &OwnedFd) {
    let start: *mut libc::c_void = area.bytes().as_ptr().cast_mut().cast();
    let mut resident = vec![0; len.div_ceil(4096)];
    // SAFETY: as in `advise`; `resident` has a byte for each page.
    unsafe {
        libc::mlock(start, len);
        libc::msync(start, len, libc::MS_SYNC | libc::MS_INVALIDATE);
        libc::munlock(start, len);
        libc::mincore(start, len, resident.as_mut_ptr());
        libc::sync_file_range(file.as_raw_fd(), 0, len as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// A flag of `mbind`.
const MPOL_MF_MOVE: u32 = 2;

/// Moves the memory of an area to the first NUMA node, if the machine has several.
pub(crate) fn bind(area: &Area, len: usize) -> Result<(), Errno> {
    let start: *mut libc::c_void = area.bytes().as_ptr().cast_mut().cast();
    let nodes = 1_u64;
    // SAFETY: as in `advise`; the mask has at least as many bits as are named.
    answer(unsafe {
        libc::syscall(
            libc::SYS_mbind,
            start,
            len,
            libc::MPOL_BIND,
            &raw const nodes,
            64,
            MPOL_MF_MOVE,
        )
    })
    .map(drop)
}
