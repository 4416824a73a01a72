//! One connection of the control thread: what it was told, and what is still to be sent.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::clients::{ClientId, Identity};
use crate::error::{Error, Refusal, Result};
use crate::event::log::Entry;
use crate::message::{ByeReason, Message};
use crate::pool::JoinPoint;
use crate::pool::quotas::Answer;
use crate::segment::{PayloadSegment, SegmentId, Takes, UnsealedPage};
use crate::sys::clock::Deadline;
use crate::sys::pidfd::{self, Credentials};
use crate::sys::poll::PollFlags;
use crate::sys::socket::{self, Connection};
use crate::writer::admission::Admission;

pub(super) mod telling;

/// Most messages that wait for a client that does not read, but for what it is told when it joins.
/// What else there is to tell stays where it is: segments in the pool, events in the stream's log,
/// which forgets what no client needs any more.
pub(super) const MAX_QUEUE: usize = 64;

/// How long a goodbye may take to be sent, of one client.
pub(super) const LEAVING: Duration = Duration::from_secs(1);

/// How long a peer is left alone after its descriptors could not be sent.
const STUCK: Duration = Duration::from_millis(20);

/// Between two messages of a client, in the long run; a client that says more is not read for a
/// while.
const UPSTREAM_INTERVAL: Duration = Duration::from_millis(10);
/// How much more often than that it may speak for a while.
const UPSTREAM_BURST: u32 = 64;

/// The descriptors of a message.
enum Attached {
    Nothing,
    Owned(Vec<OwnedFd>),
    /// Not sent where the segment is gone by then.
    Segment(SegmentId, Weak<PayloadSegment>),
    Event(Arc<OwnedFd>),
}

/// How far a connection has come.
pub(super) enum Stage {
    /// Has to say hello before the deadline.
    Greeting(Deadline),
    /// Was welcomed, and has to map its lease page before the deadline.
    Mapping(Deadline, Newcomer),
    /// Slots for its leases are being made.
    Joining(ClientId, Admission),
    /// A client, in the scan.
    Client(ClientId),
    /// A client that has broken the protocol: it is told nothing more, and stays in the scan until
    /// it hangs up or its process exits, because it may still hold frames.
    Evicted(ClientId),
    /// Was told goodbye, or has its answer; is closed when that is sent, or at the deadline.
    Leaving(Deadline),
}

/// A client that has yet to map its lease page.
pub(super) struct Newcomer {
    pub(super) id: ClientId,
    pub(super) page: UnsealedPage,
    pub(super) identity: Identity,
}

pub(super) struct Peer {
    pub(super) socket: Connection,
    /// Readable when the process has exited.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) credentials: Credentials,
    pub(super) stage: Stage,
    queue: VecDeque<(Vec<u8>, Attached)>,
    /// Descriptors were sent to it.
    pub(super) has_descriptors: bool,
    segments: HashSet<SegmentId>,
    /// The kinds of memory that it is told of.
    pub(super) takes: Takes,
    /// The last event that is queued.
    event: u64,
    /// The last events that are not for it, of those that overtake, and of others that are said once.
    joined: u64,
    once: u64,
    /// What it was told that it has; all zero before, which no answer is.
    answer: Answer,
    stuck: Option<Deadline>,
    /// When the messages that it has sent upstream would be due, had it kept to the interval.
    upstream_due: Instant,
}

impl Peer {
    pub(super) fn new(socket: Connection, greeting: Deadline) -> Peer {
        Peer {
            // Where there is no descriptor for it now, there may be when it says hello.
            pidfd: pidfd::peer_pidfd(&socket).ok().flatten(),
            credentials: pidfd::peer_credentials(&socket),
            socket,
            stage: Stage::Greeting(greeting),
            queue: VecDeque::new(),
            has_descriptors: false,
            segments: HashSet::new(),
            takes: Takes::default(),
            event: 0,
            joined: 0,
            once: 0,
            answer: Answer::default(),
            stuck: None,
            upstream_due: Instant::now(),
        }
    }

    /// Sees to it that the end of its process is noticed, where that can be.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no descriptor left for that.
    pub(super) fn watch_process(&mut self) -> Result<()> {
        if self.pidfd.is_none() {
            self.pidfd = pidfd::peer_pidfd(&self.socket)?;
        }
        Ok(())
    }

    pub(super) fn client(&self) -> Option<ClientId> {
        match self.stage {
            Stage::Client(id) | Stage::Evicted(id) => Some(id),
            _ => None,
        }
    }

    /// Until when it has to say hello, to map its page, or to take our goodbye.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.stage {
            Stage::Greeting(until) | Stage::Mapping(until, _) | Stage::Leaving(until) => {
                Some(until)
            }
            Stage::Joining(..) | Stage::Client(_) | Stage::Evicted(_) => None,
        }
    }

    /// Whether it is neither a client nor about to be one.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.stage, Stage::Greeting(_) | Stage::Leaving(_))
    }

    /// Whether that is over.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline().is_some_and(Deadline::has_passed)
    }

    /// Whether it takes a client's place without being one: it will be one, or has yet to receive
    /// descriptors that it was sent.
    pub(super) fn takes_place(&self) -> bool {
        match self.stage {
            Stage::Mapping(..) | Stage::Joining(..) => true,
            Stage::Leaving(_) => self.has_descriptors && socket::has_unread(&self.socket),
            Stage::Greeting(_) | Stage::Client(_) | Stage::Evicted(_) => false,
        }
    }

    /// Whether the goodbye was sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_)) && self.queue.is_empty()
    }

    /// What `poll` should tell of, besides a hang-up.
    pub(super) fn awaited_events(&self) -> PollFlags {
        match self.stage {
            Stage::Evicted(_) => PollFlags::empty(),
            _ => {
                let is_waiting = self.is_waiting() && self.stuck().is_none();
                let mut events = PollFlags::empty();
                events.set(PollFlags::OUT, is_waiting);
                events.set(PollFlags::IN, self.is_heard() && self.silenced().is_none());
                events
            }
        }
    }

    /// Whether its messages are read: not after the goodbye, for they may bring descriptors.
    pub(super) fn is_heard(&self) -> bool {
        !matches!(self.stage, Stage::Evicted(_) | Stage::Leaving(_))
    }

    /// Whether the socket has not taken all yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// It has said something.
    pub(super) fn count_upstream(&mut self) {
        self.upstream_due = self.upstream_due.max(Instant::now()) + UPSTREAM_INTERVAL;
    }

    /// Until when it is not read, because it has said so much.
    pub(super) fn silenced(&self) -> Option<Deadline> {
        let ahead = self.upstream_due.saturating_duration_since(Instant::now());
        let over = ahead.checked_sub(UPSTREAM_INTERVAL * UPSTREAM_BURST)?;
        Some(Deadline::after(Some(over + UPSTREAM_INTERVAL)))
    }

    /// Says why, and closes this direction of the connection.
    pub(super) fn evict(&mut self, refusal: &Refusal) {
        let Some(id) = self.client() else { return };
        self.queue.clear();
        let until = Deadline::after(None);
        self.bye(ByeReason::Refused(refusal.clone()), 0, until);
        // Where there is no room for it, the end of the connection says enough.
        let _ = self.flush();
        self.queue.clear();
        let _ = socket::shut_down_sending(&self.socket);
        self.stage = Stage::Evicted(id);
    }

    /// Welcomes a client, which has to map its page before `until`.
    pub(super) fn welcome(
        &mut self,
        message: &Message,
        fds: Vec<OwnedFd>,
        until: Deadline,
        newcomer: Newcomer,
    ) {
        self.queue
            .push_back((message.encode(), Attached::Owned(fds)));
        self.stage = Stage::Mapping(until, newcomer);
    }

    /// Tells a client that it is in the scan, and what is true there.
    pub(super) fn join(&mut self, id: ClientId, start: &JoinPoint) {
        let position = start.position;
        self.tell(&Message::Joined { position });
        for entry in &start.events {
            // Their numbers are of no use to it: they come before the first frame.
            let entry = Entry {
                number: 0,
                ..entry.clone()
            };
            self.queue.push_back(event_message(&entry));
        }
        self.tell(&Message::Told {
            number: start.event,
        });
        self.event = start.event;
        self.joined = start.joined;
        self.once = start.once;
        self.stage = Stage::Client(id);
    }

    /// Its stage, to go on from; until there is another, it leaves.
    pub(super) fn take_stage(&mut self) -> Stage {
        let leaving = Stage::Leaving(Deadline::after(Some(LEAVING)));
        std::mem::replace(&mut self.stage, leaving)
    }

    /// Answers a question, and says nothing more after it.
    pub(super) fn answer(&mut self, answer: &Message, until: Deadline) {
        self.tell(answer);
        self.stage = Stage::Leaving(until);
    }

    /// Ends the connection without a word.
    pub(super) fn hang_up(&mut self) {
        self.queue.clear();
        self.stage = Stage::Leaving(Deadline::after(Some(Duration::ZERO)));
    }

    /// Says goodbye, and nothing more after it.
    pub(super) fn bye(&mut self, reason: ByeReason, position: u64, until: Deadline) {
        let message = Message::Bye { position, reason };
        if self.client().is_none() {
            // Nor does it get its welcome, where it has not got it yet.
            self.queue.clear();
        }
        self.tell(&message);
        self.stage = Stage::Leaving(until);
    }

    fn tell(&mut self, message: &Message) {
        self.queue.push_back((message.encode(), Attached::Nothing));
    }

    /// Until when nothing is sent, because the system had no room for more descriptors.
    pub(super) fn stuck(&self) -> Option<Deadline> {
        self.stuck.filter(|until| !until.has_passed())
    }

    /// Drops what is still to be sent.
    pub(super) fn forget_messages(&mut self) {
        self.queue.clear();
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<()> {
        while let Some((bytes, attached)) = self.queue.front() {
            let segment = match attached {
                Attached::Segment(id, segment) => match segment.upgrade() {
                    Some(segment) => Some(segment),
                    None => {
                        self.segments.remove(id);
                        self.queue.pop_front();
                        continue;
                    }
                },
                _ => None,
            };
            let fds: Vec<BorrowedFd<'_>> = match attached {
                Attached::Nothing => Vec::new(),
                Attached::Owned(fds) => fds.iter().map(AsFd::as_fd).collect(),
                Attached::Segment(..) => segment.iter().filter_map(|one| one.fd()).collect(),
                Attached::Event(fd) => vec![fd.as_fd()],
            };
            match socket::send(&self.socket, bytes, &fds) {
                Ok(()) => {
                    self.has_descriptors |= !fds.is_empty();
                    self.queue.pop_front();
                }
                Err(Errno::AGAIN) => return Ok(()),
                // Too many descriptors of this user are under way. No event tells when there are
                // fewer.
                Err(Errno::NOBUFS | Errno::TOOMANYREFS) => {
                    self.stuck = Some(Deadline::after(Some(STUCK)));
                    return Ok(());
                }
                Err(errno) => return Err(Error::socket("sending to a client")(errno)),
            }
        }
        Ok(())
    }
}

fn event_message(entry: &Entry) -> (Vec<u8>, Attached) {
    let (content, attached) = match &entry.memory {
        Some(fd) => (None, Attached::Event(fd.clone())),
        None => (Some(entry.content.to_vec()), Attached::Nothing),
    };
    let message = Message::Event {
        number: entry.number,
        position: entry.position,
        kind: entry.kind,
        length: entry.content.len() as u32,
        content,
    };
    (message.encode(), attached)
}
