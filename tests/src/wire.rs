//! The control connection without the core: for peers that violate the protocol, and for peers that
//! keep the descriptors which a client closes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fcntl_add_seals;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use crate::area::SEALED;
use crate::wait::PATIENCE;

/// The version of the protocol that the core speaks.
pub const VERSION: u32 = 5;

/// Kinds of messages.
pub const HELLO: u16 = 1;
/// The producer's answer, with the metadata segment and the lease page.
pub const WELCOME: u16 = 2;
/// A payload segment, with its descriptor.
pub const SEGMENT: u16 = 3;
/// An event between the frames.
pub const EVENT: u16 = 5;
/// An event from a client to its producer.
pub const UPSTREAM: u16 = 6;
/// The end of the connection, with a reason.
pub const BYE: u16 = 7;
/// All events up to a number have been sent.
pub const TOLD: u16 = 8;
/// The client has mapped and sealed its lease page.
pub const READY: u16 = 9;
/// The client is in the scan; with the position of its first frame.
pub const JOINED: u16 = 10;
/// A client requests another quota.
pub const REQUEST: u16 = 11;
/// The quota that a client has.
pub const GRANTED: u16 = 12;

/// A question for the format.
pub const ASK: u16 = 13;
/// The answer with the format.
pub const ANSWER: u16 = 14;

/// A received message.
#[derive(Debug)]
pub struct Message {
    /// The kind of the message.
    pub kind: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// The number at `offset` of the body.
    pub fn u32_at(&self, offset: usize) -> u32 {
        let bytes = self.body[offset..offset + 4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes"))
    }

    /// The reason in a Bye.
    ///
    /// # Panics
    /// If the message is of another kind.
    pub fn reason(&self) -> String {
        assert_eq!(self.kind, BYE, "{self:?}");
        String::from_utf8(self.body[16..].to_vec()).expect("a reason is text")
    }
}

/// A connection to a producer or a client.
#[derive(Debug)]
pub struct Connection(OwnedFd);

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}

/// A socket that listens at `path`, for a test that acts as the producer.
pub fn listen(path: &Path) -> OwnedFd {
    let listener = socket();
    let address = SocketAddrUnix::new(path).expect("the path fits into an address");
    net::bind(&listener, &address).expect("no other socket has the path");
    net::listen(&listener, 8).expect("a bound socket can listen");
    listener
}

/// Accepts the next client, for a test that acts as the producer.
pub fn accept(listener: &OwnedFd) -> Connection {
    let accept = || net::accept_with(listener, SocketFlags::CLOEXEC);
    let fd = rustix::io::retry_on_intr(accept).expect("a client");
    Connection::over(fd)
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Connection {
    /// Connects to the producer at `path`.
    pub fn open(path: &Path) -> Connection {
        let fd = socket();
        let address = SocketAddrUnix::new(path).expect("the path fits into an address");
        rustix::io::retry_on_intr(|| net::connect(&fd, &address)).expect("a producer");
        Connection::over(fd)
    }

    fn over(fd: OwnedFd) -> Connection {
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))
            .expect("a socket has timeouts");
        Connection(fd)
    }

    /// Sends a Hello and waits for the answer.
    pub fn greet(&self, version: u32, leases: u32) -> Message {
        self.send(&hello(version, leases), &[])
            .expect("the message is sent");
        self.receive().expect("an answer")
    }

    /// Seals the lease page, the second descriptor of a Welcome, and sends Ready. A mapping that
    /// writes to the page must be made before.
    ///
    /// # Panics
    /// If the producer has closed the connection.
    pub fn say_ready(&self, page: impl AsFd) {
        fcntl_add_seals(page, SEALED).expect("a lease page can be sealed");
        self.send(&message(READY, &[]), &[])
            .expect("the message is sent");
    }

    /// As [`say_ready`](Connection::say_ready), then waits until the producer has added the client
    /// to its scan.
    ///
    /// # Panics
    /// If it does not.
    pub fn join(&self, page: impl AsFd) {
        self.say_ready(page);
        let answer = self.receive().expect("an answer");
        assert_eq!(answer.kind, JOINED, "{answer:?}");
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// The error of the kernel, for example if the peer has closed the connection.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let bytes = [IoSlice::new(bytes)];
        let mut send = || net::sendmsg(&self.0, &bytes, &mut ancillary, SendFlags::NOSIGNAL);
        rustix::io::retry_on_intr(&mut send).map(drop)
    }

    /// The next message; `None` if the peer has closed the connection.
    ///
    /// # Panics
    /// If nothing comes.
    pub fn receive(&self) -> Option<Message> {
        let mut bytes = vec![0; 64 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let len = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            match net::recvmsg(&self.0, &mut into, &mut ancillary, flags) {
                Ok(received) => break received.bytes,
                // The peer has not read all of ours. Told once, before its last words.
                Err(Errno::CONNRESET | Errno::INTR) => {}
                Err(error) => panic!("no message: {error}"),
            }
        };
        let mut fds = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = part {
                fds.extend(passed);
            }
        }
        if len == 0 {
            return None;
        }
        Some(Message {
            kind: u16::from_le_bytes([bytes[0], bytes[1]]),
            body: bytes[8..len].to_vec(),
            fds,
        })
    }

    /// Whether the peer has closed the connection.
    pub fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).expect("poll works");
        fds[0].revents().contains(PollFlags::HUP)
    }

    /// The messages that have arrived so far.
    pub fn received(&self) -> Vec<Message> {
        let has_more = || {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            let now = Timespec::default();
            poll(&mut fds, Some(&now)).expect("poll works") > 0
        };
        let mut messages = Vec::new();
        while has_more()
            && let Some(message) = self.receive()
        {
            messages.push(message);
        }
        messages
    }

    /// Reads messages until the peer sends no more, however long that takes.
    pub fn read_to_end(&self) {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, None)
            .expect("a socket has timeouts");
        while self.receive().is_some() {}
    }

    /// The next message of a kind; others are skipped.
    ///
    /// # Panics
    /// If none comes.
    pub fn receive_kind(&self, kind: u16) -> Message {
        loop {
            let message = self.receive().expect("the peer is connected");
            if message.kind == kind {
                return message;
            }
        }
    }
}

/// A message with its header.
pub fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The Hello of a client, for in-order delivery, which accepts memory that others may write.
pub fn hello(version: u32, leases: u32) -> Vec<u8> {
    let mut body = b"xmem/hey".to_vec();
    for number in [version, leases, 0, 1, 0, 0] {
        body.extend(number.to_le_bytes());
    }
    body.extend([0; 32]);
    message(HELLO, &body)
}

/// An Ask message.
pub fn question(version: u32) -> Vec<u8> {
    let mut body = b"xmem/hey".to_vec();
    for number in [version, 0] {
        body.extend(number.to_le_bytes());
    }
    message(ASK, &body)
}

/// An Answer that claims `length` bytes of format, and contains `format`.
pub fn answer(length: u32, format: &str) -> Vec<u8> {
    let mut body = VERSION.to_le_bytes().to_vec();
    body.extend(length.to_le_bytes());
    body.extend(format.as_bytes());
    message(ANSWER, &body)
}
