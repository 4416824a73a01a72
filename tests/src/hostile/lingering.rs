//! A descriptor whose last close waits for as long as a hostile process likes.

use std::io::{ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};

use crate::wire::Connection;

/// Most descriptors that a message can have.
pub const MOST: usize = 253;

/// A TCP socket with bytes that are not received, and which waits for that when it is closed. As long
/// as this is there, that is an hour.
#[derive(Debug)]
pub struct Lingering {
    socket: Option<TcpStream>,
    /// Its end is the end of the wait.
    receiver: TcpStream,
}

impl Default for Lingering {
    fn default() -> Lingering {
        Lingering::new()
    }
}

impl Lingering {
    /// A new one.
    pub fn new() -> Lingering {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        sockopt::set_socket_recv_buffer_size(&listener, 4096).expect("a socket has a buffer");
        let address = listener.local_addr().expect("it has a port");
        let mut socket = TcpStream::connect(address).expect("it listens");
        let (receiver, _) = listener.accept().expect("it has connected");
        sockopt::set_socket_send_buffer_size(&socket, 4096).expect("a socket has a buffer");
        sockopt::set_socket_linger(&socket, Some(Duration::from_secs(3600))).expect("it lingers");
        socket.set_nonblocking(true).expect("a socket");
        loop {
            match socket.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        Lingering {
            socket: Some(socket),
            receiver,
        }
    }

    /// What keeps the wait from ending, where that should be there for longer.
    pub fn receiver(&self) -> TcpStream {
        self.receiver.try_clone().expect("a descriptor")
    }

    /// Passes so many copies with a message, and keeps none. The receiver should be stopped, so that
    /// the last close is its own.
    ///
    /// # Errors
    /// The kernel's, where the other side takes no descriptors.
    pub fn pass(&mut self, to: &Connection, bytes: &[u8], copies: usize) -> Result<(), Errno> {
        let socket = self.socket.as_ref().expect("it is passed once");
        let fds = vec![socket.as_fd(); copies];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [IoSlice::new(bytes)];
        sendmsg(to, &bytes, &mut ancillary, SendFlags::NOSIGNAL)?;
        self.socket = None;
        Ok(())
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = sockopt::set_socket_linger(socket, None);
        }
    }
}
