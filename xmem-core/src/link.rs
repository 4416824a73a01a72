//! Floor 3: what a client's frames, its receiving thread and its control thread share.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cuda::completion::Completions;
use crate::error::{CudaError, Disconnection, Error, Resource, Result, Setting};
use crate::event::pending::Events;
use crate::message::Message;
use crate::quota::{Grant, Quota};
use crate::segment::{
    LeasePage, MAX_LEASES, MAX_SLOTS, MetadataSegment, PayloadSegment, SegmentId,
};
use crate::sys::fork::Origin;
use crate::sys::futex::{self, WakeWord};
use crate::sys::poll::EventFd;
use crate::sys::socket::{self, Connection};

mod leases;
mod releases;

use leases::{Asked, Held, Leases};

/// How the stream has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The producer stopped in good order.
    Stopped,
    /// The producer is gone without a word. What it has published stays as it is.
    Gone(String),
    /// The producer lives and has hung up: nothing protects the frames from now on.
    Dropped(Disconnection),
    /// The producer broke the protocol.
    Broken(String),
    /// A callback of this process has panicked, or the thread that reads the connection.
    Failed(String),
    /// This process can't use the device that the frames are on, or the device has failed.
    Cuda(CudaError),
    /// This process had no room for what the producer has told: what, and the system's answer.
    Lacking(String, Resource, i32),
}

impl End {
    /// The end that an error of this process's is.
    pub(crate) fn of(error: Error) -> End {
        match error {
            Error::Protocol(what) => End::Broken(what),
            Error::Failed(what) => End::Failed(what),
            Error::Cuda(error) => End::Cuda(error),
            Error::ResourceExhausted {
                what,
                resource,
                source,
            } => End::Lacking(what, resource, source.raw_os_error().unwrap_or(0)),
            other => End::Dropped(Disconnection::Gone(other.to_string())),
        }
    }

    pub(crate) fn error(&self) -> Error {
        match self {
            End::Stopped => Error::Stopped,
            End::Gone(what) => Error::Disconnected(Disconnection::Gone(what.clone())),
            End::Dropped(how) => Error::Disconnected(how.clone()),
            End::Broken(what) => Error::Protocol(what.clone()),
            End::Failed(what) => Error::Failed(what.clone()),
            End::Cuda(error) => Error::Cuda(error.clone()),
            End::Lacking(what, resource, answer) => {
                let answer = io::Error::from_raw_os_error(*answer);
                Error::exhausted(what, *resource, answer)
            }
        }
    }
}

/// What the control connection has told so far.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) segments: HashMap<SegmentId, Arc<PayloadSegment>>,
    pub(crate) events: Events,
    pub(crate) end: Option<End>,
}

impl Session {
    /// Segments whose descriptors are kept.
    pub(crate) fn descriptors(&self) -> usize {
        let segments = self.segments.values();
        segments.filter(|segment| segment.fd().is_some()).count()
    }
}

/// A client's side of a channel. Lives until the last frame is dropped: the lease page and the
/// socket do, so the producer respects the leases until then.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) metadata: MetadataSegment,
    pub(crate) page: LeasePage,
    pub(crate) socket: Connection,
    /// Nanoseconds that this process's `CLOCK_MONOTONIC` is ahead of the producer's: not 0 where
    /// they are in different time namespaces.
    pub(crate) clock_offset: i64,
    /// The user that the producer runs as.
    pub(crate) producer_uid: u32,
    /// Signalled when something was told, or a lease came back that was waited for.
    pub(crate) wake_word: WakeWord,
    /// Readable when the connection is not needed any more.
    pub(crate) event_fd: EventFd,
    /// Set when nothing protects frames from being overwritten any more, or the connection is not
    /// read.
    broken: AtomicBool,
    /// Frames before this position are void.
    void: AtomicU64,
    /// In a forked child nothing is given back: it is its parent's.
    origin: Origin,
    session: Mutex<Session>,
    leases: Mutex<Leases>,
    quota: Mutex<Asked>,
    /// Leases that are given back when the device has done the work that reads their frames.
    releases: Completions<Held>,
}

impl Link {
    pub(crate) fn new(
        metadata: MetadataSegment,
        (page, leases): (LeasePage, u32),
        socket: Connection,
        clock_offset: i64,
        producer_uid: u32,
    ) -> Result<Link> {
        let quota = Mutex::new(Asked::of_leases(leases));
        let leases = Leases {
            free: (0..leases as u16).rev().collect(),
            count: leases,
            starved: false,
            abandoned: false,
        };
        Ok(Link {
            metadata,
            socket,
            clock_offset,
            producer_uid,
            wake_word: WakeWord::default(),
            event_fd: EventFd::new()?,
            broken: AtomicBool::new(false),
            void: AtomicU64::new(0),
            origin: Origin::here(),
            session: Mutex::default(),
            quota,
            leases: Mutex::new(leases),
            releases: Completions::default(),
            page,
        })
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the process that has connected, and not one that it forked.
    pub(crate) fn is_here(&self) -> bool {
        self.origin.is_here()
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free lease; where there is none, the wake word is signalled when one comes back.
    pub(crate) fn take_lease(&self) -> Option<u16> {
        let mut leases = self.leases();
        let lease = leases.free.pop();
        leases.starved = lease.is_none();
        lease
    }

    /// Leases that are not out.
    pub(crate) fn free_leases(&self) -> u32 {
        self.leases().free.len() as u32
    }

    /// Gives back a lease that was never used for a frame.
    pub(crate) fn return_lease(&self, lease: u16) {
        let mut leases = self.leases();
        leases.free.push(lease);
        let starved = std::mem::take(&mut leases.starved);
        let unused = leases.abandoned && leases.are_all_free();
        drop(leases);
        if starved {
            self.wake_word.signal();
        }
        if unused {
            self.event_fd.notify();
        }
    }

    /// There is no subscriber any more. Says whether the connection is not needed any more, so that
    /// its thread ends; else `event_fd` becomes readable when the last frame is dropped.
    pub(crate) fn abandon(&self) -> bool {
        if !self.origin.is_here() {
            return false;
        }
        self.releases.close();
        let mut leases = self.leases();
        leases.abandoned = true;
        let unused = leases.are_all_free();
        drop(leases);
        if unused {
            self.event_fd.notify();
        }
        unused
    }

    /// Frames before `position` are void, and what was said once until now.
    pub(crate) fn flush(&self, position: u64) {
        // Under the lock, so that a thread that takes a frame or an event knows whether it came before.
        let mut session = self.session();
        session.events.flush();
        // Relaxed: a thread that is told of it synchronizes by being told; until then a frame more does
        // no harm.
        self.void.fetch_max(position, Ordering::Relaxed);
    }

    /// The first position that is not void.
    pub(crate) fn void(&self) -> u64 {
        self.void.load(Ordering::Relaxed)
    }

    /// The connection has ended: notes how, unless that is known already, and ends the waits.
    pub(crate) fn finish(&self, end: End) {
        let broken = matches!(
            end,
            End::Dropped(_) | End::Broken(_) | End::Failed(_) | End::Cuda(_) | End::Lacking(..)
        );
        {
            let mut session = self.session();
            if session.end.is_none() {
                session.end = Some(end);
                self.broken.store(broken, Ordering::Release);
            }
        }
        self.wake_word.signal();
    }

    /// An error when no frame may be leased any more.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.origin.is_here() {
            return Err(Error::Forked);
        }
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let session = self.session();
        Err(session.end.as_ref().map_or(Error::Stopped, End::error))
    }

    /// Gives back the lease of a frame, after the last read of it.
    pub(crate) fn release(&self, lease: u16) {
        if !self.origin.is_here() {
            return;
        }
        self.page.words().release(usize::from(lease));
        self.made_progress();
        self.return_lease(lease);
    }

    fn quota(&self) -> MutexGuard<'_, Asked> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the producer for another quota, unless it was asked for that already. Leases that are given
    /// up are out of use before; those that are out stay. Says whether the socket took it.
    pub(crate) fn request(&self, quota: Quota) -> Result<bool> {
        if !self.origin.is_here() {
            return Err(Error::Forked);
        }
        let (leases, backlog) = (quota.leases.into(), quota.backlog.into());
        Error::check_setting(Setting::Leases, leases, 1..=MAX_LEASES.into())?;
        Error::check_setting(Setting::Backlog, backlog, 0..=MAX_SLOTS.into())?;
        let mut asked = self.quota();
        let leases = quota.leases.max(self.leases().give_up(quota.leases));
        let wanted = Quota { leases, ..quota };
        if asked.wanted == wanted {
            return Ok(true);
        }
        let number = asked.number.wrapping_add(1).max(1);
        let message = Message::Request {
            number,
            quota: wanted,
        };
        // Under the lock, so that requests are sent in the order of their numbers. It never waits.
        let is_sent = socket::send(&self.socket, &message.encode(), &[]).is_ok();
        if is_sent {
            asked.number = number;
            asked.wanted = wanted;
        } else {
            // The producer does not know of what was given up.
            let leases = asked.granted.quota.leases.min(asked.wanted.leases);
            self.leases().raise(leases);
        }
        Ok(is_sent)
    }

    /// The producer has answered the request of this number. Says whether that is the last one.
    pub(crate) fn take_grant(&self, number: u32, grant: Grant) -> Result<bool> {
        let mut asked = self.quota();
        if number != asked.number {
            // There is a later request, which may be for fewer leases.
            return Ok(false);
        }
        let mut leases = self.leases();
        if grant.quota.leases < leases.count {
            return Err(Error::Protocol(format!(
                "{} leases were granted where {} are in use",
                grant.quota.leases, leases.count
            )));
        }
        leases.raise(grant.quota.leases);
        asked.granted = grant;
        Ok(true)
    }

    /// What the producer has granted.
    pub(crate) fn granted(&self) -> Grant {
        self.quota().granted
    }

    /// What was asked for.
    pub(crate) fn wanted(&self) -> Quota {
        self.quota().wanted
    }

    /// Sends something to the producer, where its socket takes it. Says whether it did.
    pub(crate) fn send_upstream(&self, content: &[u8]) -> Result<bool> {
        if !self.origin.is_here() {
            return Err(Error::Forked);
        }
        let content = content.to_vec();
        let message = Message::Upstream { content };
        Ok(socket::send(&self.socket, &message.encode(), &[]).is_ok())
    }

    /// Moves the cursor: frames before `position` are received or given up.
    pub(crate) fn pass(&self, position: u64) {
        if !self.origin.is_here() {
            return;
        }
        self.page.words().pass(position);
        self.made_progress();
    }

    /// Wakes a writer that waits for us.
    fn made_progress(&self) {
        let page = self.page.words();
        if self.metadata.words().wake_writer(&page) && futex::wake_one(page.progress).is_err() {
            let what = "it uses the word that it is woken by for another kind of futex";
            self.finish(End::Broken(what.into()));
        }
    }
}
