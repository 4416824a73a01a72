//! Unix sockets of kind SEQPACKET: whole messages, with descriptors, never blocking.
//!
//! Not even by a close. Descriptors that a peer passes are closed by [`closer`], and so is a
//! connection on which messages with some may wait.
#![allow(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg,
    ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};

use super::clock::Deadline;
use super::closer;
use super::fork::Origin;
use crate::error::Error;

/// Most descriptors that one message may carry.
pub(crate) const MAX_FDS: usize = 4;

/// Connections that the kernel keeps for us until we accept them.
pub(crate) const BACKLOG: i32 = 128;

/// What an accepted connection keeps of our messages until they are read, in bytes: `SO_SNDBUF`, of
/// which the kernel makes twice as many, 4608, and no less whatever is asked for. It counts its own
/// part of a message, so six of the shortest (768 bytes) fill it, and a single one may be as long as
/// 4576 bytes.
///
/// Descriptors that were sent and not received count against the sender's user: without
/// `CAP_SYS_RESOURCE` it may have `RLIMIT_NOFILE` of them, on all its connections together. A client
/// that does not read must not use that up.
const SEND_BUFFER: usize = 2304;

/// Whether a socket takes descriptors, Linux 6.16.
const SO_PASSRIGHTS: libc::c_int = 83;

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

/// A socket that is bound, and takes connections once it listens.
#[derive(Debug)]
pub(crate) struct Listening {
    fd: OwnedFd,
    /// The kernel refuses descriptors from a process that connects.
    refuses_fds: bool,
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A bound socket at `path`, which must not exist; it does not listen yet. Its file has these
/// permissions from the start, less the umask. What connects to it can't pass descriptors, where
/// the kernel can see to that.
pub(crate) fn bind(path: &Path, mode: u32) -> Result<Listening, Errno> {
    let fd = socket()?;
    let refuses_fds = refuse_fds(&fd);
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(Listening { fd, refuses_fds })
}

/// Has senders of descriptors fail with `EPERM`. Accepted sockets inherit that. False where the
/// kernel can't.
fn refuse_fds(fd: &OwnedFd) -> bool {
    let off: libc::c_int = 0;
    // SAFETY: the kernel reads the integer, of the size that it is told; the socket is open as long
    // as it is borrowed.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    result == 0
}

pub(crate) fn listen(listening: &Listening) -> Result<(), Errno> {
    net::listen(listening, BACKLOG)
}

impl Listening {
    /// Whether there are so many closed connections that can't be released that no more should be
    /// accepted.
    pub(crate) fn is_overrun(&self) -> bool {
        !self.refuses_fds && closer::is_full()
    }
}

/// The next connection; `AGAIN` when there is none.
pub(crate) fn accept(listening: &Listening) -> Result<Connection, Errno> {
    let fd = net::accept_with(listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    // Where a sandbox refuses it, descriptors under way are as many as a peer likes.
    let _ = sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER);
    Ok(Connection::new(fd, !listening.refuses_fds))
}

/// Connects, waiting at most `timeout` for room in the listener's backlog: `AGAIN` then.
pub(crate) fn connect(path: &Path, timeout: Duration) -> Result<Connection, Errno> {
    let fd = socket()?;
    let address = SocketAddrUnix::new(path)?;
    let deadline = Deadline::after(Some(timeout));
    loop {
        // Signals that come all the time must not put the deadline off.
        let left = deadline.left().unwrap_or(timeout);
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
    let connection = Connection::new(fd, true);
    rustix::io::ioctl_fionbio(&connection, true)?;
    Ok(connection)
}

/// One end of a connection. Dropped, it hangs up at once, and is closed when that can be.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` while it is dropped.
    fd: Option<OwnedFd>,
    /// Messages may come with descriptors, whatever is allowed.
    brings_fds: bool,
    /// A child that was forked has the connection too, and does not end it.
    origin: Origin,
}

impl Connection {
    fn new(fd: OwnedFd, brings_fds: bool) -> Connection {
        Connection {
            fd: Some(fd),
            brings_fds,
            origin: Origin::here(),
        }
    }

    /// Closes it here. Both ends are this process's, so no other has passed anything.
    pub(crate) fn close_own(mut self) {
        self.brings_fds = false;
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("only the drop takes it").as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        if !self.brings_fds || !self.origin.is_here() {
            return;
        }
        // What waits to be read may have descriptors, which are closed with it.
        let _ = net::shutdown(&fd, Shutdown::Both);
        closer::close(vec![fd]);
    }
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
    net::shutdown(socket, Shutdown::Write)
}

/// Ends the connection, in both directions.
pub(crate) fn shut_down(socket: impl AsFd) -> Result<(), Errno> {
    net::shutdown(socket, Shutdown::Both)
}

/// Whether the peer has yet to receive something that was sent, and has not closed its socket.
pub(crate) fn has_unread(socket: impl AsFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes an integer, for which there is room; the socket is open as long as it
    // is borrowed.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    result == 0 && bytes > 0
}

/// One received message.
pub(crate) struct Received {
    /// Bytes of the message in the buffer; 0 when the peer has hung up.
    pub(crate) len: usize,
    /// Whether the message or its descriptors were more than there was room for. Then nothing more
    /// can be received.
    pub(crate) truncated: bool,
    /// Whether it came with descriptors that this process had no room for. Then nothing more can be
    /// received.
    pub(crate) lost_fds: bool,
    pub(crate) fds: Passed,
}

/// Descriptors that a peer has passed, of which nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Passed(Vec<OwnedFd>);

impl Passed {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The descriptors, where they are of memory as `is_memory` tells: to close them takes no time.
    ///
    /// # Errors
    /// [`Error::Protocol`] where one is of something else.
    pub(crate) fn into_memory(
        mut self,
        is_memory: impl Fn(&OwnedFd) -> bool,
    ) -> crate::error::Result<Vec<OwnedFd>> {
        if self.0.iter().all(is_memory) {
            return Ok(std::mem::take(&mut self.0));
        }
        Err(Error::Protocol(
            "the peer passed something that is not a memfd, a dmabuf or memory of a device".into(),
        ))
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        closer::close(std::mem::take(&mut self.0));
    }
}

/// Receives one message; `AGAIN` when there is none.
///
/// One that may have descriptors is looked at before it is taken. So they are open here when the
/// kernel closes its own, and none of those is the last: neither where they are too many for the
/// room there is, nor where this process has no descriptors left. Such a message stays where it is.
pub(crate) fn receive(connection: &Connection, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let first = if connection.brings_fds {
        flags | RecvFlags::PEEK
    } else {
        flags
    };
    let message = receive_once(connection, buffer, &mut ancillary, first)?;
    let mut fds = Passed::default();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            fds.0.extend(passed);
        }
    }
    let is = |flag| message.flags.contains(flag);
    if connection.brings_fds && !is(ReturnFlags::CTRUNC) {
        let nothing = &mut RecvAncillaryBuffer::default();
        receive_once(connection, &mut [], nothing, flags)?;
    }
    // More of them than may be sent would have filled the room for them.
    let lost_fds = is(ReturnFlags::CTRUNC) && fds.len() < MAX_FDS;
    Ok(Received {
        len: message.bytes,
        truncated: is(ReturnFlags::TRUNC) || is(ReturnFlags::CTRUNC) && !lost_fds,
        lost_fds,
        fds,
    })
}

/// Receives a message. Where the peer has closed the connection and has not read all that it was told,
/// the system says so once, before the messages that the peer has sent.
fn receive_once(
    connection: &Connection,
    buffer: &mut [u8],
    ancillary: &mut RecvAncillaryBuffer<'_>,
    flags: RecvFlags,
) -> Result<RecvMsg, Errno> {
    let buffer = &mut [IoSliceMut::new(buffer)];
    match net::recvmsg(connection, buffer, ancillary, flags) {
        Err(Errno::CONNRESET) => net::recvmsg(connection, buffer, ancillary, flags),
        received => received,
    }
}

/// A connected pair, for tests.
#[cfg(test)]
pub(crate) fn pair() -> (Connection, Connection) {
    let (a, b) = net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .unwrap();
    (Connection::new(a, true), Connection::new(b, true))
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
    fn the_last_words_of_a_peer_that_did_not_read_ours_arrive() {
        let (a, b) = pair();
        send(&a, b"bye", &[]).unwrap();
        send(&b, b"unread", &[]).unwrap();
        drop(a);
        let mut buffer = [0; 16];
        let message = receive(&b, &mut buffer).unwrap();
        assert_eq!(&buffer[..message.len], b"bye");
        assert_eq!(receive(&b, &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn what_does_not_fit_is_marked_truncated() {
        let (a, b) = pair();
        send(&a, &[7; 32], &[]).unwrap();
        assert!(receive(&b, &mut [0; 16]).unwrap().truncated);
    }
}
