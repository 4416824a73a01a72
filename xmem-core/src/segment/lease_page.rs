//! The lease page of a client: made, mapped, sealed; from bytes to `&Atomic`.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::layout::{LINE, MAX_LEASES, PAGE};
use crate::dtype::AccessMode;
use crate::error::{Error, Result};
use crate::lease::ClientWords;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;
use crate::sys::seals;

/// One client's page: its leases, its cursor, and the words that it and the writer sleep on.
#[derive(Debug)]
pub(crate) struct LeasePage {
    mapping: Mapping,
    /// How many of its words are leases. What stands in the others means nothing.
    leases: AtomicU32,
}

/// The size of every lease page, in bytes.
pub(crate) const LEASE_PAGE_SIZE: usize = PAGE;
/// What the client writes, what the producer writes and the leases are in cache lines of their own.
const WAKE_AT: usize = LINE;
const LEASES_AT: usize = 2 * LINE;
const _: () = assert!(LEASES_AT + 8 * MAX_LEASES as usize <= LEASE_PAGE_SIZE);

/// A lease page that its client has yet to map, and to seal.
///
/// The client seals it, and the producer looks whether it has. A seal waits for the file's lock, which
/// the kernel holds during a write; and a process can write from memory whose page fault does not
/// end. So a producer that added the seals could be held up by its client.
#[derive(Debug)]
pub(crate) struct UnsealedPage {
    page: LeasePage,
    fd: OwnedFd,
}

impl UnsealedPage {
    /// Makes the page for a client with `leases` leases (at most [`MAX_LEASES`]).
    pub(crate) fn create(leases: u32) -> Result<UnsealedPage> {
        assert!((1..=MAX_LEASES).contains(&leases));
        let (fd, mapping) = memfd::create("xmem-leases", LEASE_PAGE_SIZE, seals::size_seals())?;
        let page = LeasePage::new(mapping, leases);
        Ok(UnsealedPage { page, fd })
    }

    /// Maps the page that the producer made for this client.
    ///
    /// All its words are there; which of them are leases, the client's [`Link`](crate::link::Link) knows.
    pub(crate) fn open(fd: OwnedFd) -> Result<UnsealedPage> {
        let access = AccessMode::ReadWrite;
        let mapping = memfd::map(&fd, LEASE_PAGE_SIZE, seals::size_seals(), access)?;
        let page = LeasePage::new(mapping, MAX_LEASES);
        Ok(UnsealedPage { page, fd })
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes the page in use, after the client has sealed it: from now on no process can punch a
    /// hole into it, which would make the next look at it a page fault that waits.
    ///
    /// # Errors
    /// [`Error::Protocol`] where the client has not sealed it.
    pub(crate) fn sealed(self) -> Result<LeasePage> {
        seals::check_seals(&self.fd, seals::producer_seals()).map_err(|error| match error {
            Error::Protocol(_) => {
                let what = "the lease page is not sealed: the client adds F_SEAL_FUTURE_WRITE and \
                            F_SEAL_SEAL before it says that it is ready";
                Error::Protocol(what.into())
            }
            other => other,
        })?;
        // A hole that was punched before is filled here, off the thread that writes frames, without
        // the file's lock. The cursor has no meaning yet.
        if !self.page.mapping.populate(0..LEASE_PAGE_SIZE)? {
            self.page.words().pass(0);
        }
        // The page may count for the client's control group, if the client has filled the hole.
        self.page.mapping.lock();
        Ok(self.page)
    }
}

impl LeasePage {
    fn new(mapping: Mapping, leases: u32) -> LeasePage {
        let leases = AtomicU32::new(leases);
        LeasePage { mapping, leases }
    }

    pub(crate) fn leases(&self) -> u32 {
        // Relaxed: the producer changes it under the lock that it looks at the leases under.
        self.leases.load(Ordering::Relaxed)
    }

    /// From now on there are so many leases (at most [`MAX_LEASES`]).
    pub(crate) fn set_leases(&self, leases: u32) {
        assert!((1..=MAX_LEASES).contains(&leases));
        self.leases.store(leases, Ordering::Relaxed);
    }

    /// The words that the lease protocol runs on.
    pub(crate) fn words(&self) -> ClientWords<'_> {
        ClientWords {
            sleep: &self.mapping.atomics::<AtomicU64>(0, 1)[0],
            cursor: &self.mapping.atomics::<AtomicU64>(8, 1)[0],
            missed: &self.mapping.atomics::<AtomicU64>(16, 1)[0],
            progress: &self.mapping.atomics::<AtomicU32>(24, 1)[0],
            wake: &self.mapping.atomics::<AtomicU32>(WAKE_AT, 1)[0],
            leases: self.mapping.atomics(LEASES_AT, self.leases() as usize),
        }
    }
}
