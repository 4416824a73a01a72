//! The calling thread's time slice, which decides how soon it runs once it is woken.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::time::Duration;

/// Sets the time slice of the calling thread; `None` gives it the kernel's own again.
///
/// The shorter its slice, the sooner a thread that was woken runs: it may interrupt one with a
/// longer slice on its processor, and otherwise waits until that one has used its own up, a few
/// milliseconds. Its share of the processor stays the same. So a short slice is for a thread that
/// waits most of the time and has to be prompt, as one that waits for frames beside a producer
/// that computes the next. The kernel takes 0.1 to 100 ms and rounds others to these.
///
/// Needs no privilege, and Linux 6.12 (`sched_setattr(2)`, EEVDF); earlier kernels take it and
/// do nothing. A thread with another scheduling policy than the usual one, such as a real-time
/// thread, is left alone. Threads that the calling thread starts afterwards don't inherit the
/// slice: it has `SCHED_FLAG_RESET_ON_FORK` from now on.
///
/// # Errors
/// The system's, where a sandbox forbids it; all is as before then.
pub fn set_time_slice(slice: Option<Duration>) -> io::Result<()> {
    let mut attributes = get()?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
    // The kernel takes 0 for its own.
    attributes.sched_runtime = slice.map_or(0, |slice| slice.as_nanos().clamp(1, MAX_NS) as u64);
    set(&attributes)
}

/// Gives the calling thread the smallest share of the processors that a thread of the usual kind has:
/// others run before it. It can't take that back, so the thread should end soon. Where a sandbox forbids
/// it, its share stays as it is.
pub(crate) fn give_way() {
    let Ok(mut attributes) = get() else { return };
    // A thread that a real-time thread has started may be one, too.
    attributes.sched_policy = libc::SCHED_BATCH as u32;
    attributes.sched_priority = 0;
    attributes.sched_nice = 19;
    attributes.sched_flags = 0;
    let _ = set(&attributes);
}

/// The longest slice, in nanoseconds.
const MAX_NS: u128 = 100_000_000;

/// The attributes of the calling thread.
fn get() -> io::Result<libc::sched_attr> {
    // SAFETY: `sched_attr` is a C structure of integers: all zeroes are a value.
    let mut attributes: libc::sched_attr = unsafe { zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `size` bytes to the structure, which is ours alone, and
    // any bit pattern is a value of it. 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    match result {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread these attributes.
fn set(attributes: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel only reads the structure, which says its own size (`get` has had it
    // filled in), and is borrowed. 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_has_the_smallest_share() {
        let before = get().unwrap().sched_nice;
        let given_way = std::thread::spawn(|| {
            give_way();
            get().unwrap()
        });
        let given_way = given_way.join().unwrap();
        assert_eq!(given_way.sched_nice, 19);
        assert_eq!(given_way.sched_policy, libc::SCHED_BATCH as u32);
        assert_eq!(get().unwrap().sched_nice, before);
    }

    #[test]
    fn a_slice_is_set_and_given_back_and_not_inherited() {
        let slice = || get().unwrap().sched_runtime;
        let default = slice();
        set_time_slice(Some(Duration::from_micros(300))).unwrap();
        let set = slice();
        // 0 is what kernels before 6.12 say of every thread.
        assert!(set == 300_000 || (set, default) == (0, 0), "{set} ns");
        let inherited = std::thread::spawn(move || get().unwrap().sched_runtime);
        assert_eq!(inherited.join().unwrap(), default);
        set_time_slice(None).unwrap();
        assert_eq!(slice(), default);
    }
}
