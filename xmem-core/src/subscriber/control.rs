//! The control thread of a subscriber: reads what the producer tells, and notices when it is gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::preparing::Preparing;
use crate::callback;
use crate::error::{Disconnection, Error, Result};
use crate::event::{EventKind, StreamEvent};
use crate::link::{End, Link};
use crate::message::{ByeReason, Message};
use crate::quota::Grant;
use crate::segment::{Descriptor, MAX_SLOTS, PayloadSegment, SegmentMemory, Takes};
use crate::sys::clock::Deadline;
use crate::sys::memfd::Maker;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::sched::set_time_slice;
use crate::sys::seals;
use crate::sys::socket::{self, Connection};
use crate::sys::{limits, memfd};

/// What is called on the thread that reads the connection. It must not block.
#[derive(Clone, Default)]
pub(super) struct Observers {
    /// Is told of urgent events.
    pub(super) on_urgent: Option<Arc<dyn Fn(StreamEvent) + Send + Sync>>,
    /// Is told what the producer has granted.
    pub(super) on_granted: Option<Arc<dyn Fn(Grant) + Send + Sync>>,
}

/// Most descriptors of segments that are kept: a producer decides how many segments there are, and
/// this process has use for its descriptors elsewhere. Frames in the others are none the worse.
///
/// Nor does a process keep them that has few left, or keeps many for all its clients together.
const MAX_DESCRIPTORS: usize = 256;
/// Of the control thread, which does little at a time: as short as the kernel allows.
const TIME_SLICE: Duration = Duration::from_micros(100);
/// How long a process may take to exit after its sockets were closed.
const EXITING: Duration = Duration::from_secs(1);

/// What reads the connection.
pub(super) struct Control {
    /// Readable when the producer has exited.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) buffer: Vec<u8>,
    /// Which process has made what the producer passes as its own.
    pub(super) maker: Maker,
    pub(super) takes: Takes,
    pub(super) observers: Observers,
    pub(super) preparing: Preparing,
}

/// Where there is no pidfd, the socket stands in its place.
pub(super) fn or_socket<'a>(pidfd: &'a Option<OwnedFd>, socket: &'a Connection) -> BorrowedFd<'a> {
    pidfd.as_ref().map_or(socket.as_fd(), AsFd::as_fd)
}

pub(super) fn decode(buffer: &[u8], received: &socket::Received) -> Result<Message> {
    if received.lost_fds {
        let what = "receiving a descriptor of the producer's memory";
        return Err(Error::socket(what)(Errno::MFILE));
    }
    if received.truncated {
        return Err(Error::Protocol("a message that is too long".into()));
    }
    let message = Message::decode(&buffer[..received.len])?;
    if message.fds() != received.fds.len() {
        return Err(Error::Protocol(format!(
            "a message with {} descriptors: {message:?}",
            received.fds.len()
        )));
    }
    Ok(message)
}

impl Control {
    /// Reads until the connection ends or is not needed any more.
    /// Should it panic, the connection ends with that.
    pub(super) fn run(mut self, link: &Arc<Link>) {
        // A frame may wait for what it reads next. Where that is refused, it waits a little longer.
        let _ = set_time_slice(Some(TIME_SLICE));
        let end = callback::call("the control thread", || self.read(link));
        match end {
            Ok(None) => {}
            Ok(Some(end)) => link.finish(end),
            Err(reason) => link.finish(End::Failed(reason)),
        }
    }

    /// How the connection has ended; `None` where it is not needed any more.
    fn read(&mut self, link: &Arc<Link>) -> Option<End> {
        loop {
            match self.turn(link) {
                Ok(Turn::More) => {}
                Ok(Turn::Dropped) => return None,
                Ok(Turn::End(end)) => return Some(end),
                Err(error) => return Some(End::of(error)),
            }
        }
    }

    fn turn(&mut self, link: &Arc<Link>) -> Result<Turn> {
        let mut fds = [
            PollFd::new(&link.event_fd, PollFlags::IN),
            PollFd::new(&link.socket, PollFlags::IN),
            PollFd::from_borrowed_fd(or_socket(&self.pidfd, &link.socket), PollFlags::IN),
        ];
        poll(&mut fds, Deadline::after(None))?;
        if !fds[0].revents().is_empty() {
            return Ok(Turn::Dropped);
        }
        let exited = !fds[2].revents().is_empty();
        let received = match socket::receive(&link.socket, &mut self.buffer) {
            Ok(received) => received,
            // Everything that it had sent was read.
            Err(Errno::AGAIN) if exited => {
                return Ok(Turn::End(End::Gone("its process has exited".into())));
            }
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Turn::More),
            Err(errno) => return self.hung_up(link, &errno.to_string()),
        };
        if received.len == 0 {
            return self.hung_up(link, "it has closed the connection");
        }
        let message = decode(&self.buffer, &received)?;
        let fd = received.fds.into_memory(SegmentMemory::is_memory)?.pop();
        if let Message::Granted { number, grant } = message {
            self.take_grant(link, number, grant)?;
            return Ok(Turn::More);
        }
        let (turn, urgent) = self.take_in(link, message, fd)?;
        if let Some((number, event)) = urgent {
            // Before any frame that follows can be received.
            if let Some(observer) = &self.observers.on_urgent {
                callback::call("on_urgent", || observer(event)).map_err(Error::Failed)?;
            }
            link.session().events.add_told(number);
        }
        link.wake_word.signal();
        Ok(turn)
    }

    fn take_grant(&self, link: &Link, number: u32, grant: Grant) -> Result<()> {
        if !link.take_grant(number, grant)? {
            return Ok(());
        }
        // There may be a lease that was waited for.
        link.wake_word.signal();
        match &self.observers.on_granted {
            Some(observer) => {
                callback::call("on_granted", || observer(grant)).map_err(Error::Failed)
            }
            None => Ok(()),
        }
    }
}

impl Control {
    /// The connection has ended without a goodbye. A producer that was killed closes its sockets
    /// a moment before it has exited; one that lives on has evicted this client.
    fn hung_up(&self, link: &Link, what: &str) -> Result<Turn> {
        let dropped = || End::Dropped(Disconnection::Gone(what.into()));
        let Some(pidfd) = &self.pidfd else {
            return Ok(Turn::End(dropped()));
        };
        let mut fds = [
            PollFd::new(&link.event_fd, PollFlags::IN),
            PollFd::new(pidfd, PollFlags::IN),
        ];
        poll(&mut fds, Deadline::after(Some(EXITING)))?;
        if !fds[0].revents().is_empty() {
            return Ok(Turn::Dropped);
        }
        Ok(Turn::End(if fds[1].revents().is_empty() {
            dropped()
        } else {
            End::Gone("its process has exited".into())
        }))
    }
}

enum Turn {
    More,
    Dropped,
    End(End),
}

impl Control {
    /// Takes a message in. What is urgent is returned, with its number.
    fn take_in(
        &self,
        link: &Arc<Link>,
        message: Message,
        fd: Option<OwnedFd>,
    ) -> Result<(Turn, Option<(u64, StreamEvent)>)> {
        match message {
            Message::Segment { id, memory } => {
                if !self.takes.takes(memory.kind) {
                    return Err(Error::Protocol(
                        "memory of a kind that this client does not take".into(),
                    ));
                }
                if link.session().segments.len() >= MAX_SLOTS as usize {
                    return Err(Error::Protocol("more segments than slots".into()));
                }
                let kept = link.session().descriptors();
                if memory.kind.needs_descriptor() && kept >= 2 * MAX_DESCRIPTORS {
                    return Err(Error::Protocol(format!(
                        "more dmabufs than {MAX_DESCRIPTORS}"
                    )));
                }
                let is_spare = |fd| limits::has_spare_descriptors(fd, Descriptor::count_kept());
                let keep = kept < MAX_DESCRIPTORS && fd.as_ref().is_some_and(is_spare);
                // Mapped here, off the thread that receives.
                let segment = PayloadSegment::open(id, memory, fd, self.maker, keep)?;
                self.preparing.add(&segment, link);
                if link.session().segments.insert(id, segment).is_some() {
                    return Err(Error::Protocol(format!("segment {} twice", id.0)));
                }
            }
            Message::SegmentGone { id } => {
                // Frames in hand keep it mapped.
                let gone = link.session().segments.remove(&id);
                drop(gone);
            }
            Message::Event {
                number,
                position,
                kind,
                length,
                content,
            } => {
                let content = match (content, fd) {
                    (Some(content), _) => content,
                    (None, Some(fd)) => read_event(fd, length as usize, self.maker)?,
                    (None, None) => return Err(Error::Protocol("an event without content".into())),
                };
                let event = StreamEvent::new(number, kind, content.into(), link.producer_uid);
                if kind == EventKind::Flush {
                    link.flush(position);
                }
                if kind.is_urgent() {
                    return Ok((Turn::More, Some((number, event))));
                }
                link.session().events.add(number, position, event);
            }
            Message::Told { number } => link.session().events.add_told(number),
            Message::Bye { reason, .. } => {
                let end = match reason {
                    ByeReason::Stopped => End::Stopped,
                    ByeReason::Failed(text) => End::Gone(format!("it has failed: {text}")),
                    ByeReason::Refused(refusal) => End::Dropped(Disconnection::Evicted(refusal)),
                };
                return Ok((Turn::End(end), None));
            }
            Message::Hello(_)
            | Message::Welcome(_)
            | Message::Ready
            | Message::Joined { .. }
            | Message::Granted { .. }
            | Message::Request { .. }
            | Message::Upstream { .. }
            | Message::Ask
            | Message::Answer { .. } => {
                return Err(Error::Protocol(format!("{message:?} after the welcome")));
            }
        }
        Ok((Turn::More, None))
    }
}

fn read_event(fd: OwnedFd, length: usize, maker: Maker) -> Result<Vec<u8>> {
    let seals = seals::producer_seals();
    let mapping = memfd::open(fd, length, seals, maker)?;
    // As long as the producer likes it to be. One copy is made here, one is kept, one is handed out.
    limits::check_copies(3 * length).map_err(|error| error.doing(|| "reading an event".into()))?;
    let mut content = Vec::new();
    content
        .try_reserve_exact(length)
        .map_err(|_| Error::memory("reading an event")(Errno::NOMEM))?;
    content.resize(length, 0);
    mapping.read(0, &mut content);
    Ok(content)
}
