//! One connection of the control thread: what it was told, and what is still to be sent.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::message::{ByeReason, MAX_INLINE_FORMAT, Message};
use crate::pool::{ClientId, Pool};
use crate::segment::{PayloadSegment, SegmentId};
use crate::sys::clock::Deadline;
use crate::sys::pidfd::{self, Credentials};
use crate::sys::{memfd, socket};

/// Most messages that wait for a peer that does not read. There are a few for each change of caps
/// and each new client, so who has so many waiting is stopped or hostile.
const MAX_QUEUE: usize = 256;

/// The descriptors of a message.
enum Attached {
    Nothing,
    Owned(Vec<OwnedFd>),
    Segment(Arc<PayloadSegment>),
}

/// How far a connection has come.
pub(super) enum Stage {
    /// Has to say hello before the deadline.
    Greeting(Deadline),
    /// A client, in the scan.
    Client(ClientId),
    /// Was told goodbye; is closed when that is sent, or at the deadline.
    Leaving(Deadline),
}

pub(super) struct Peer {
    pub(super) socket: OwnedFd,
    /// Readable when the process has exited.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) credentials: Credentials,
    pub(super) stage: Stage,
    queue: VecDeque<(Vec<u8>, Attached)>,
    segments: HashSet<SegmentId>,
    format: u32,
    eos: Option<u64>,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, greeting: Deadline) -> Peer {
        Peer {
            pidfd: pidfd::peer_pidfd(&socket),
            credentials: pidfd::peer_credentials(&socket),
            socket,
            stage: Stage::Greeting(greeting),
            queue: VecDeque::new(),
            segments: HashSet::new(),
            format: 0,
            eos: None,
        }
    }

    pub(super) fn client(&self) -> Option<ClientId> {
        match self.stage {
            Stage::Client(id) => Some(id),
            _ => None,
        }
    }

    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The welcome of a client, with its descriptors.
    pub(super) fn welcome(&mut self, message: &Message, fds: Vec<OwnedFd>) {
        self.queue
            .push_back((message.encode(), Attached::Owned(fds)));
    }

    /// Says goodbye, and nothing more after it.
    pub(super) fn bye(&mut self, reason: ByeReason, position: u64, text: &str, until: Deadline) {
        let message = Message::Bye {
            reason,
            position,
            text: text.into(),
        };
        self.queue.push_back((message.encode(), Attached::Nothing));
        self.stage = Stage::Leaving(until);
    }

    /// Queues what the pool has and the client was not told yet.
    pub(super) fn update(&mut self, pool: &Pool) -> Result<()> {
        let gone: Vec<_> = self
            .segments
            .iter()
            .filter(|id| !pool.segments.iter().any(|segment| segment.id == **id))
            .copied()
            .collect();
        for id in gone {
            self.segments.remove(&id);
            let message = Message::SegmentGone { id };
            self.queue.push_back((message.encode(), Attached::Nothing));
        }
        for segment in &pool.segments {
            if self.segments.insert(segment.id) {
                let message = Message::Segment {
                    id: segment.id,
                    kind: segment.kind as u32,
                    size: segment.mapping.len() as u64,
                };
                self.queue
                    .push_back((message.encode(), Attached::Segment(segment.clone())));
            }
        }
        for (id, text) in &pool.formats {
            if *id > self.format {
                self.format = *id;
                self.queue.push_back(format_message(*id, text)?);
            }
        }
        if pool.eos != self.eos
            && let Some(position) = pool.eos
        {
            self.eos = pool.eos;
            let message = Message::Eos { position };
            self.queue.push_back((message.encode(), Attached::Nothing));
        }
        if self.queue.len() > MAX_QUEUE {
            return Err(Error::Protocol("it does not read its messages".into()));
        }
        Ok(())
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<()> {
        while let Some((bytes, attached)) = self.queue.front() {
            let fds: Vec<BorrowedFd<'_>> = match attached {
                Attached::Nothing => Vec::new(),
                Attached::Owned(fds) => fds.iter().map(AsFd::as_fd).collect(),
                Attached::Segment(segment) => segment.fd.iter().map(AsFd::as_fd).collect(),
            };
            match socket::send(&self.socket, bytes, &fds) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                // Full; or too many descriptors under way in the whole system.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => return Ok(()),
                Err(errno) => return Err(Error::socket("sending to a client")(errno)),
            }
        }
        Ok(())
    }
}

fn format_message(id: u32, text: &str) -> Result<(Vec<u8>, Attached)> {
    let length = text.len() as u32;
    if text.len() <= MAX_INLINE_FORMAT {
        let text = Some(text.to_owned());
        return Ok((
            Message::Format { id, length, text }.encode(),
            Attached::Nothing,
        ));
    }
    let (fd, mapping) = memfd::create("xmem-format", text.len(), memfd::producer_seals())?;
    mapping.write(0, text.as_bytes());
    let message = Message::Format {
        id,
        length,
        text: None,
    };
    let fd = memfd::reopen_read_only(fd)?;
    Ok((message.encode(), Attached::Owned(vec![fd])))
}
