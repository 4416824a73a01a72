//! Events: how often they were recorded, and up to which record they are complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::result::{Code, Result};
use crate::shared::{Purpose, SharedFile};

/// The counts of an event. Those of an IPC event are in memory that processes share.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Words {
    recorded: AtomicU64,
    completed: AtomicU64,
    /// When the latest record was completed, in nanoseconds of `CLOCK_MONOTONIC`.
    time: AtomicU64,
}

/// The words of an event, wherever they are.
#[derive(Clone, Debug)]
pub enum Place {
    Here(Arc<Words>),
    Shared(Arc<SharedFile>),
}

/// An event of this process.
#[derive(Clone, Debug)]
pub struct Event {
    pub context: usize,
    pub flags: u32,
    pub words: Place,
}

/// `CU_EVENT_DISABLE_TIMING`
pub const DISABLE_TIMING: u32 = 2;
/// `CU_EVENT_INTERPROCESS`
pub const INTERPROCESS: u32 = 4;
/// All flags that exist.
pub const FLAGS: u32 = 7;

impl Place {
    /// The words of a new event.
    pub fn new(shared_by: Option<[u8; 16]>) -> Result<Place> {
        Ok(match shared_by {
            None => Place::Here(Arc::default()),
            Some(device) => {
                let file = SharedFile::create(Purpose::Event, size_of::<Words>(), device)?;
                Place::Shared(Arc::new(file))
            }
        })
    }

    /// The words of an event of another process.
    pub fn open(handle: &[u8; crate::shared::HANDLE_SIZE]) -> Result<Place> {
        let file = SharedFile::open(handle, Purpose::Event)?;
        if file.size() != size_of::<Words>() {
            return Err(Code::INVALID_HANDLE);
        }
        Ok(Place::Shared(Arc::new(file)))
    }

    /// Whether other processes can complete the event.
    pub fn is_shared(&self) -> bool {
        matches!(self, Place::Shared(_))
    }

    fn words(&self) -> &Words {
        match self {
            Place::Here(words) => words,
            // SAFETY: the file has this size, its mapping is page-aligned and lives as long as the
            // borrow, and all words are atomic.
            Place::Shared(file) => unsafe { file.data().cast::<Words>().as_ref() },
        }
    }

    /// Counts a record. Returns its number.
    pub fn record(&self) -> u64 {
        self.words().recorded.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of the latest record, 0 if there was none.
    pub fn latest(&self) -> u64 {
        self.words().recorded.load(Ordering::Acquire)
    }

    /// Completes a record and all before it.
    pub fn complete(&self, record: u64) {
        self.words().time.store(now(), Ordering::Release);
        self.words().completed.fetch_max(record, Ordering::AcqRel);
    }

    /// Whether a record is complete.
    pub fn is_complete(&self, record: u64) -> bool {
        self.words().completed.load(Ordering::Acquire) >= record
    }

    /// When the latest record was completed.
    pub fn time(&self) -> u64 {
        self.words().time.load(Ordering::Acquire)
    }
}

fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
