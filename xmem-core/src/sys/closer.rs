//! What may take as long as another process likes, mostly closing, in threads that nothing waits for.
//!
//! The last close of a descriptor can wait: of a TCP socket that lingers until what was sent is
//! received, of a file whose file system is a process. Another process can pass such a descriptor
//! and close its own. So what others have passed is closed here, and a connection on which
//! messages with descriptors may wait to be read: they are closed with it. A seal waits, too: for
//! the end of a write to the same file.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use rustix::io::Errno;

use super::fork::Origin;

/// Most threads at once, in this process.
pub(crate) const MOST_THREADS: u32 = 64;
/// Of one of them.
const STACK: usize = 64 * 1024;

/// The threads that there are, in the lower half; in the upper one the number of the process that
/// has them, for a child that was forked has none.
static THREADS: AtomicU64 = AtomicU64::new(0);
/// What waits for a thread. Others are closed with it that were passed together.
static WAITING: Mutex<Vec<Vec<OwnedFd>>> = Mutex::new(Vec::new());

/// Whether all threads that there may be are at work. Then nothing more should be taken from
/// other processes.
pub(crate) fn is_full() -> bool {
    count(THREADS.load(Ordering::Relaxed)) >= MOST_THREADS
}

/// Closes descriptors, soon. Never waits, unless this process can't start a thread.
pub(crate) fn close(fds: Vec<OwnedFd>) {
    if fds.is_empty() {
        return;
    }
    let mut waiting = waiting();
    waiting.push(fds);
    if !add_thread() {
        // One of the others takes it when it is done.
        return;
    }
    drop(waiting);
    if start(close_waiting).is_err() {
        // There is no thread to be had. Kept open, a connection would stand for a client that is
        // gone.
        close_waiting();
    }
}

/// Does something else in such a thread. Never waits.
///
/// # Errors
/// Where this process can't start a thread, or [all](is_full) are at work.
pub(crate) fn run(task: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if !add_thread() {
        return Err(Errno::BUSY.into());
    }
    let started = start(|| {
        task();
        close_waiting();
    });
    started.inspect_err(|_| {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    })
}

/// Starts a thread that is counted already.
fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = Builder::new().name("xmem-close".into()).stack_size(STACK);
    thread.spawn(work).map(drop)
}

/// Closes what waits, until nothing does.
fn close_waiting() {
    loop {
        let mut waiting = waiting();
        let Some(fds) = waiting.pop() else {
            // Under the lock, so that what is pushed next finds one thread less.
            THREADS.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        drop(waiting);
        drop(fds);
    }
}

fn waiting() -> MutexGuard<'static, Vec<Vec<OwnedFd>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one thread more, unless there are as many as there may be.
fn add_thread() -> bool {
    let process = u64::from(Origin::here().number()) << 32;
    let add = |threads| {
        let count = count(threads);
        (count < MOST_THREADS).then_some(process | u64::from(count + 1))
    };
    let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
    THREADS.fetch_update(set, get, add).is_ok()
}

/// How many there are in this process.
fn count(threads: u64) -> u32 {
    if (threads >> 32) as u32 == Origin::here().number() {
        threads as u32
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::sys::clock::Deadline;
    use crate::sys::poll::{PollFd, PollFlags, poll};

    #[test]
    fn all_that_is_handed_over_is_closed() {
        let pair = || {
            let kind = SocketType::SEQPACKET;
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
        };
        // More than there may be threads.
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..3 * MOST_THREADS).map(|_| pair()).unzip();
        theirs.into_iter().for_each(|fd| close(vec![fd]));
        for fd in &ours {
            let mut fds = [PollFd::new(fd, PollFlags::empty())];
            poll(&mut fds, Deadline::after(None)).unwrap();
            assert!(fds[0].revents().contains(PollFlags::HUP));
        }
    }
}
