//! What runs in a child that a process forks.
#![allow(unsafe_code)]

/// Runs `act` in a forked child and waits for it. Returns whether `act` returned true.
pub fn in_child(act: impl FnOnce() -> bool) -> bool {
    // SAFETY: POSIX allows the child of a process with several threads to call async-signal-safe
    // functions only. Programs do more than that, which is what this tests: glibc handles its own
    // locks, and the alarm kills a child that hangs nevertheless.
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
    // SAFETY: the call writes to `status` only.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && status == 0
}
