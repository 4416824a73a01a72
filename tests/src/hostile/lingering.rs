//! A descriptor whose last close blocks for as long as a hostile process wants.

use std::io::{ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};

use crate::wire::Connection;

/// The maximum number of descriptors of a message.
pub const MOST: usize = 253;

/// A TCP socket with bytes that are not received. Its close waits until they are: up to an hour, as
/// long as this value exists.
#[derive(Debug)]
pub struct Lingering {
    socket: Option<TcpStream>,
    /// The wait ends when this is closed.
    receiver: TcpStream,
}

impl Default for Lingering {
    fn default() -> Lingering {
        Lingering::new()
    }
}

impl Lingering {
    /// Creates the socket.
    pub fn new() -> Lingering {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        sockopt::set_socket_recv_buffer_size(&listener, 4096).expect("a socket has a buffer");
        let address = listener.local_addr().expect("the listener has a port");
        let mut socket = TcpStream::connect(address).expect("the listener accepts connections");
        let (receiver, _) = listener.accept().expect("the socket has connected");
        sockopt::set_socket_send_buffer_size(&socket, 4096).expect("a socket has a buffer");
        sockopt::set_socket_linger(&socket, Some(Duration::from_secs(3600)))
            .expect("the option can be set");
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

    /// A second handle of the receiver, which keeps the close waiting after this value is dropped.
    pub fn receiver(&self) -> TcpStream {
        self.receiver.try_clone().expect("a descriptor")
    }

    /// Passes `copies` copies with a message, and keeps none. The receiving process should be
    /// stopped, so that the last close is its own.
    ///
    /// # Errors
    /// The error of the kernel, if the other side accepts no descriptors.
    pub fn pass(&mut self, to: &Connection, bytes: &[u8], copies: usize) -> Result<(), Errno> {
        let socket = self.socket.as_ref().expect("the socket is passed once");
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
