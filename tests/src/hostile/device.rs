//! Memory of a CUDA device as a producer passes it, for a peer that passes it on with lies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::impostor::Impostor;
use crate::wire::{self, Connection};

/// The flags of a Hello of a client that takes all memory.
pub const TAKES_ALL: u32 = 3;
/// The kinds of segments in memory of a device.
pub const VIRTUAL: u32 = 4;
/// The same, opened by a handle.
pub const IPC: u32 = 5;
/// The same as the first, imported.
pub const IMPORTED: u32 = 6;

/// A Hello with these flags.
pub fn hello(flags: u32, leases: u32) -> Vec<u8> {
    let mut hello = wire::hello(wire::VERSION, leases);
    hello[28..32].copy_from_slice(&flags.to_le_bytes());
    hello
}

/// What a Segment message says, and what comes with it.
#[derive(Debug)]
pub struct DeviceSegment {
    /// The number.
    pub id: u32,
    /// What the memory is.
    pub kind: u32,
    /// Its size in bytes.
    pub size: u64,
    /// The UUID of its device.
    pub device: [u8; 16],
    /// The handle, or what else follows.
    pub handle: Vec<u8>,
    /// The descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Clone for DeviceSegment {
    fn clone(&self) -> DeviceSegment {
        let copy = |fd: &OwnedFd| fd.try_clone().expect("a descriptor can be copied");
        DeviceSegment {
            fds: self.fds.iter().map(copy).collect(),
            handle: self.handle.clone(),
            ..*self
        }
    }
}

impl DeviceSegment {
    /// A segment of a producer, which may go on with its frames. The connection keeps it there.
    pub fn of_producer(path: &Path) -> (DeviceSegment, Connection) {
        let connection = Connection::open(path);
        connection
            .send(&hello(TAKES_ALL, 1), &[])
            .expect("the message is sent");
        let welcome = connection.receive_kind(wire::WELCOME);
        connection.say_ready(&welcome.fds[1]);
        let segment = loop {
            let message = connection.receive_kind(wire::SEGMENT);
            if message.u32_at(4) >= VIRTUAL {
                break message;
            }
        };
        let size = segment.body[8..16].try_into().expect("eight bytes");
        let segment = DeviceSegment {
            id: segment.u32_at(0),
            kind: segment.u32_at(4),
            size: u64::from_le_bytes(size),
            device: segment.body[16..32].try_into().expect("16 bytes"),
            handle: segment.body[32..].to_vec(),
            fds: segment.fds,
        };
        (segment, connection)
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.id.to_le_bytes().to_vec();
        body.extend(self.kind.to_le_bytes());
        body.extend(self.size.to_le_bytes());
        body.extend(self.device);
        body.extend(&self.handle);
        wire::message(wire::SEGMENT, &body)
    }

    /// Announces it.
    pub fn announce(&self, impostor: &mut Impostor) {
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        impostor.send(&self.message(), &fds);
    }
}
