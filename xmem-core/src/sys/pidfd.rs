//! A descriptor for the process at the other end of a socket: readable once it has exited.
#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::clock::Deadline;
use super::poll::{PollFd, PollFlags, poll};
use crate::error::{Error, Result};

/// `SO_PEERPIDFD`, Linux 6.5.
const SO_PEERPIDFD: libc::c_int = 77;

/// The process at the other end of a unix socket, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// 0 where the process is in a PID namespace that can't be seen from here.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// How the kernel names a user that has no number in this user namespace, unless told otherwise
/// (`/proc/sys/kernel/overflowuid`).
pub(crate) const OVERFLOW_UID: u32 = 65534;

/// Whether this is the user of this process. Never so for a number that stands for any user of
/// another namespace.
pub(crate) fn is_own_user(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw() && uid != OVERFLOW_UID
}

pub(crate) fn peer_credentials(socket: impl AsFd) -> Credentials {
    let fd = socket.as_fd().as_raw_fd();
    // rustix's `UCred` can't hold pid 0, which another PID namespace gives.
    let mut cred = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` is an exclusive borrow of `len` writable bytes, any bit pattern is a value
    // of its three integers, and `fd` is open as long as `socket` is borrowed.
    unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &mut len,
        );
    }
    Credentials {
        pid: cred.pid.max(0) as u32,
        uid: cred.uid,
    }
}

/// Whether the process at the other end has exited, although its socket is still open: a child that
/// it forked has it too.
///
/// # Errors
/// As [`peer_pidfd`].
pub(crate) fn peer_has_exited(socket: impl AsFd) -> Result<bool> {
    Ok(match peer_pidfd(&socket)? {
        Some(pidfd) => {
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            let now = Deadline::after(Some(Duration::ZERO));
            poll(&mut fds, now).is_ok() && !fds[0].revents().is_empty()
        }
        None => {
            let pid = Pid::from_raw(peer_credentials(socket).pid as i32);
            pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH))
        }
    })
}

/// The pidfd of the process that connected (or listened, seen from a client).
///
/// `None` where there is none to be had: then only the socket's hang-up tells of its end.
///
/// # Errors
/// [`Error::ResourceExhausted`] where there is one, and no descriptor for it: its end must not go
/// unnoticed for that.
pub(crate) fn peer_pidfd(socket: impl AsFd) -> Result<Option<OwnedFd>> {
    let mut fd: RawFd = -1;
    let mut len = size_of::<RawFd>() as libc::socklen_t;
    // SAFETY: `fd` is an exclusive borrow of `len` writable bytes and any bit pattern is an
    // integer; the socket is open as long as it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &mut len,
        )
    };
    if result == 0 && fd >= 0 {
        // SAFETY: the kernel just made this descriptor for us and nothing else has it; it is
        // close-on-exec, as every pidfd.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    // Older kernels: by number. Should the peer have exited and its number been given away since
    // it connected, its socket has hung up as well.
    let Some(pid) = Pid::from_raw(peer_credentials(&socket).pid as i32) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(fd) => Ok(Some(fd)),
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(Error::socket(
            "watching the process at the other end",
        )(errno)),
        Err(_) => Ok(None),
    }
}

/// A process's number, where it can be seen from here: the kernel tells 0 otherwise.
pub(crate) fn known(pid: u32) -> Option<u32> {
    (pid > 0).then_some(pid)
}
