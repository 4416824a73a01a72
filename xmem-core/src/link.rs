//! Floor 3: what a client's frames, its receiving thread and its control thread share.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::segment::{LeasePage, MetadataSegment, PayloadSegment, SegmentId};
use crate::sys::futex::{self, Event};
use crate::writer::SPILL_SIZE;

/// How the stream has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The producer stopped in good order.
    Stopped,
    /// The producer is gone without a word.
    Gone(String),
    /// The producer broke the protocol.
    Broken(String),
}

impl End {
    pub(crate) fn error(&self) -> Error {
        match self {
            End::Stopped => Error::Stopped,
            End::Gone(what) => Error::Disconnected(what.clone()),
            End::Broken(what) => Error::Protocol(what.clone()),
        }
    }
}

/// What the control connection has told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) segments: HashMap<SegmentId, Arc<PayloadSegment>>,
    pub(crate) formats: BTreeMap<u32, Arc<str>>,
    /// The position before which the stream ends.
    pub(crate) eos: Option<u64>,
    pub(crate) end: Option<End>,
}

#[derive(Debug)]
struct Leases {
    free: Vec<u16>,
    /// The receiving thread waits for one.
    starved: bool,
}

/// A client's side of a channel. Lives until the last frame is dropped: the lease page and the
/// socket do, so the producer respects the leases until then.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) metadata: MetadataSegment,
    pub(crate) page: LeasePage,
    pub(crate) socket: OwnedFd,
    /// Signalled when something was told, or a lease came back that was waited for.
    pub(crate) event: Event,
    told: Mutex<Told>,
    leases: Mutex<Leases>,
}

impl Link {
    pub(crate) fn new(metadata: MetadataSegment, page: LeasePage, socket: OwnedFd) -> Link {
        let free = (0..page.leases() as u16).rev().collect();
        Link {
            metadata,
            page,
            socket,
            event: Event::default(),
            told: Mutex::default(),
            leases: Mutex::new(Leases {
                free,
                starved: false,
            }),
        }
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free lease; where there is none, the event is signalled when one comes back.
    pub(crate) fn take_lease(&self) -> Option<u16> {
        let mut leases = self.leases();
        let lease = leases.free.pop();
        leases.starved = lease.is_none();
        lease
    }

    /// Gives back a lease that was never used for a frame.
    pub(crate) fn return_lease(&self, lease: u16) {
        let mut leases = self.leases();
        leases.free.push(lease);
        let starved = std::mem::take(&mut leases.starved);
        drop(leases);
        if starved {
            self.event.signal();
        }
    }

    /// Gives back the lease of a frame, after the last read of it.
    pub(crate) fn release(&self, lease: u16) {
        self.page.page().release(usize::from(lease));
        self.made_progress();
        self.return_lease(lease);
    }

    /// Moves the cursor: frames before `position` are received or given up.
    pub(crate) fn pass(&self, position: u64) {
        self.page.page().pass(position);
        self.made_progress();
    }

    /// Wakes a writer that waits for us, where writers may wait.
    fn made_progress(&self) {
        let page = self.page.page();
        if self.metadata.blocking && self.metadata.board().wake_writer(&page) {
            futex::wake_all(page.progress);
        }
    }

    /// The extra bytes that stand in a slot of their own, at the place that `location` names.
    pub(crate) fn read_spilled(&self, location: &[u8], len: usize) -> Result<Vec<u8>> {
        let lie = || Error::Protocol("extra bytes of a frame are outside of their segment".into());
        let location: &[u8; SPILL_SIZE] = location.first_chunk().ok_or_else(lie)?;
        let offset = u64::from_le_bytes(*location.first_chunk().expect("8 of 16 bytes"));
        let id = u32::from_le_bytes(*location[8..].first_chunk().expect("4 of 8 bytes"));
        let segment = self.told().segments.get(&SegmentId(id)).cloned();
        let segment = segment.ok_or(Error::BufferNotFound(id))?;
        let end = offset.checked_add(len as u64).ok_or_else(lie)?;
        if end > segment.mapping.len() as u64 {
            return Err(lie());
        }
        let mut extra = vec![0; len];
        segment.mapping.read(offset as usize, &mut extra);
        Ok(extra)
    }
}
