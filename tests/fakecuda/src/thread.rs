//! Threads of the driver.

use crate::result::{Code, Result};

/// Starts a thread. It handles no signals, which are the program's.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result {
    // SAFETY: sets of signals of zeros are values, which the calls overwrite.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: both sets are valid.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let builder = std::thread::Builder::new().name(name.into());
    let spawned = builder.spawn(run);
    // SAFETY: the set was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    spawned.map(|_| ()).map_err(|_| Code::OPERATING_SYSTEM)
}
