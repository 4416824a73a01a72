//! What this process has used, and children of it.
#![allow(unsafe_code)]

use xmem_tests::Line;

/// Page faults of the whole process so far.
pub(crate) fn page_faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a writable rusage, the only thing that the call writes to.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage can't fail with a valid pointer");
    // SAFETY: an rusage is integers only, for which zeroes are valid, and the call filled it in.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// Forks a child that keeps every descriptor and mapping, and ends with the standard input.
pub(crate) fn fork() -> Line {
    // SAFETY: the child of a process with several threads may call async-signal-safe functions
    // only; `read` and `_exit` are, and the buffer is the child's own.
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
    Line::new("forked").with("pid", pid)
}

/// Forks a child that does something, and waits for it: whether it says that all is well.
pub(crate) fn in_child(act: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child of a process with several threads may call async-signal-safe functions
    // only, says POSIX. Programs do more than that, which is what is tried here: glibc sees to its
    // own locks, and a child that hangs nevertheless is killed by the alarm.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(20);
            let code = i32::from(!act());
            libc::_exit(code);
        }
        pid
    };
    assert!(pid > 0, "fork");
    let mut status = 0;
    // SAFETY: `status` is the only thing that the call writes to.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && status == 0
}
