//! The resource usage of this process, and child processes.
#![allow(unsafe_code)]

use xmem_tests::Line;

/// Page faults of the whole process so far.
pub(crate) fn page_faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a writable rusage, and the call writes to nothing else.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage cannot fail with a valid pointer");
    // SAFETY: an rusage consists of integers only, for which zeroes are valid, and the call filled
    // it in.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// Forks a child that keeps every descriptor and mapping, and ends when the standard input ends.
pub(crate) fn fork() -> Line {
    // SAFETY: the child of a process with several threads may only call async-signal-safe
    // functions. `read` and `_exit` are such functions, and the buffer belongs to the child.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let mut byte = 0u8;
            while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
            libc::_exit(0);
        }
        pid
    };
    assert!(pid > 0, "fork");
    Line::default().with("pid", pid)
}
