//! Unix sockets of kind SEQPACKET: whole messages, with descriptors, never blocking.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::clock::Deadline;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};

/// Most descriptors that one message may carry.
pub(crate) const MAX_FDS: usize = 4;

/// Connections that the kernel keeps for us until we accept them.
pub(crate) const BACKLOG: i32 = 128;

/// The kernel takes less for no wait at all, or for one without end.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

fn socket() -> Result<OwnedFd, Errno> {
    net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// A bound socket at `path`, which must not exist; it does not listen yet. Its file has these
/// permissions from the start, less the umask.
pub(crate) fn bind(path: &Path, mode: u32) -> Result<OwnedFd, Errno> {
    let fd = socket()?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

pub(crate) fn listen(fd: impl AsFd) -> Result<(), Errno> {
    net::listen(fd, BACKLOG)
}

/// The next connection; `AGAIN` when there is none.
pub(crate) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Connects, waiting at most `patience` for room in the listener's backlog: `AGAIN` then.
pub(crate) fn connect(path: &Path, patience: Duration) -> Result<OwnedFd, Errno> {
    let fd = socket()?;
    let address = SocketAddrUnix::new(path)?;
    let deadline = Deadline::after(Some(patience));
    loop {
        // Signals that come all the time must not put the deadline off.
        let left = deadline.left().unwrap_or(patience);
        if left < SHORTEST_WAIT {
            rustix::io::ioctl_fionbio(&fd, true)?;
        } else {
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(left))?;
        }
        match net::connect(&fd, &address) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Sends one whole message; `AGAIN` when the socket is full.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags).map(drop)
}

/// Tells the peer that nothing more comes: after what was sent it reads the end.
pub(crate) fn shut_down_sending(socket: impl AsFd) -> Result<(), Errno> {
    net::shutdown(socket, net::Shutdown::Write)
}

/// One received message.
pub(crate) struct Received {
    /// Bytes of the message in the buffer; 0 when the peer has hung up.
    pub(crate) len: usize,
    /// Whether the message or its descriptors were more than there was room for.
    pub(crate) truncated: bool,
    /// Whether it came with descriptors that this process had no room for: they are gone.
    pub(crate) lost_fds: bool,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Receives one message; `AGAIN` when there is none.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        flags,
    )?;
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            fds.extend(passed);
        }
    }
    let is = |flag| message.flags.contains(flag);
    // More of them than anybody may send would have filled the room for them.
    let lost_fds = is(ReturnFlags::CTRUNC) && fds.len() < MAX_FDS;
    Ok(Received {
        len: message.bytes,
        truncated: is(ReturnFlags::TRUNC) || is(ReturnFlags::CTRUNC) && !lost_fds,
        lost_fds,
        fds,
    })
}

/// A connected pair, for tests.
#[cfg(test)]
pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (a, b) = pair();
        send(&a, b"hello", &[a.as_fd(), b.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let message = receive(&b, &mut buffer).unwrap();
        assert_eq!(&buffer[..message.len], b"hello");
        assert_eq!(message.fds.len(), 2);
        assert!(!message.truncated);
        assert!(matches!(receive(&b, &mut buffer), Err(Errno::AGAIN)));
        drop((a, message));
        assert_eq!(receive(&b, &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn what_does_not_fit_is_marked_truncated() {
        let (a, b) = pair();
        send(&a, &[7; 32], &[]).unwrap();
        assert!(receive(&b, &mut [0; 16]).unwrap().truncated);
    }
}
