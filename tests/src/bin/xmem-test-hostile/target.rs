//! The target of an attack: the memory that a client shares with its producer.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::fs::SealFlags;
use xmem_tests::Line;
use xmem_tests::area::Area;
use xmem_tests::hostile::impostor::{HEAD, Layout, PAGE, STATES};
use xmem_tests::wire::{self, Connection};

/// Indices of the words of a lease page: SLEEP, CURSOR and LEASES in words of 64 bits, PROGRESS and
/// WAKE in words of 32 bits.
pub(crate) const SLEEP: usize = 0;
pub(crate) const CURSOR: usize = 1;
pub(crate) const LEASES: usize = 128 / 8;
pub(crate) const PROGRESS: usize = 24 / 4;
pub(crate) const WAKE: usize = 64 / 4;

/// The byte offset of the delivery in a Hello.
const DELIVERY: usize = 24;

/// Whether the producer has closed its side of a connection.
static EXPELLED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_expelled() -> bool {
    EXPELLED.load(Ordering::Relaxed)
}

/// The memory of a channel that one client has.
pub(crate) struct Target {
    connection: Arc<Connection>,
    pub(crate) metadata: Area,
    pub(crate) metadata_fd: OwnedFd,
    pub(crate) page: Area,
    pub(crate) page_fd: OwnedFd,
    /// The descriptor of the lease page, even if the attack goes to other memory.
    lease_page: OwnedFd,
    pub(crate) layout: Layout,
    pub(crate) leases: usize,
}

impl Target {
    /// Connects, and maps the memory that comes with the Welcome.
    pub(crate) fn welcome(settings: &Line) -> Target {
        let connection = Connection::open(Path::new(settings.text("socket")));
        let leases = settings.get_number("leases").unwrap_or(1) as u32;
        let mut hello = wire::hello(wire::VERSION, leases);
        if settings.get("delivery") == Some("latest") {
            hello[DELIVERY] = 1;
        }
        connection.send(&hello, &[]).expect("a producer");
        let welcome = connection.receive().expect("an answer");
        assert_eq!(welcome.kind, wire::WELCOME, "{welcome:?}");
        let layout = Layout::new(welcome.u32_at(12) as usize);
        let mut fds = welcome.fds.into_iter();
        let mut next = || fds.next().expect("a Welcome has two descriptors");
        let (metadata_fd, page_fd) = (next(), next());
        let metadata = Area::map(&metadata_fd, layout.size, false);
        let page = Area::map(&page_fd, PAGE, true);
        let target = Target {
            connection: Arc::new(connection),
            metadata,
            metadata_fd,
            page,
            lease_page: page_fd.try_clone().expect("a descriptor"),
            page_fd,
            layout,
            leases: leases as usize,
        };
        match settings.get("elsewhere") {
            Some(_) => target.elsewhere(),
            None => target,
        }
    }

    /// Replaces the shared memory by memory of this process alone.
    fn elsewhere(self) -> Target {
        let sizes = SealFlags::SHRINK | SealFlags::GROW;
        let (metadata, metadata_fd) = Area::new(self.layout.size, sizes);
        let (page, page_fd) = Area::new(PAGE, sizes);
        Target {
            metadata,
            metadata_fd,
            page,
            page_fd,
            ..self
        }
    }

    /// Sends Ready, and waits for the answer.
    pub(crate) fn ready(&self) {
        self.connection.join(&self.lease_page);
    }

    /// Sends Ready.
    pub(crate) fn say_ready(&self) {
        let ready = wire::message(wire::READY, &[]);
        self.connection.send(&ready, &[]).expect("a producer");
    }

    /// Maps the first segment that the producer announces.
    pub(crate) fn first_segment(&self) -> (Area, usize, OwnedFd) {
        let mut message = self.connection.receive_kind(wire::SEGMENT);
        let len = message.u32_at(8) as usize;
        let fd = message.fds.remove(0);
        (Area::map(&fd, len, false), len, fd)
    }

    /// Reads messages until the producer sends no more.
    pub(crate) fn read_messages(&self) {
        let connection = self.connection.clone();
        std::thread::spawn(move || {
            connection.read_to_end();
            EXPELLED.store(true, Ordering::Relaxed);
        });
    }

    /// Joins a client to the producer's scan. The client stays as long as the process lives.
    pub(crate) fn join(settings: &Line) -> &'static Target {
        let target = Box::leak(Box::new(Target::welcome(settings)));
        target.ready();
        target.read_messages();
        target
    }

    /// Every word that a client can map and that a process may sleep on: the words of the lease
    /// page and of the first pages of the metadata segment.
    pub(crate) fn words(&self) -> impl Iterator<Item = &AtomicU32> + Clone {
        let metadata = &self.metadata.halves()[..self.layout.metas_at / 4];
        self.page.halves().iter().chain(metadata)
    }

    /// The words among them that the protocol uses.
    pub(crate) fn notable_words(&self) -> Vec<&AtomicU32> {
        let page = self.page.halves();
        let metadata = self.metadata.halves();
        // The head, `writer_waiting`, the end; then some state words and ring words.
        let of_page = [WAKE, PROGRESS, 2 * SLEEP, 2 * CURSOR, 2 * LEASES];
        let of_metadata = (2 * HEAD..2 * HEAD + 6).chain(2 * STATES..2 * STATES + 8);
        let ring = self.layout.ring_at / 4;
        let of_page = of_page.into_iter().map(|at| &page[at]);
        let of_metadata = of_metadata.chain(ring..ring + 8).map(|at| &metadata[at]);
        of_page.chain(of_metadata).collect()
    }

    pub(crate) fn head(&self) -> u64 {
        self.metadata.words()[HEAD].load(Ordering::Acquire)
    }

    /// The state words of all slots.
    pub(crate) fn states(&self) -> &[AtomicU64] {
        &self.metadata.words()[STATES..STATES + self.layout.slots]
    }

    /// The word that names the frame at a position.
    pub(crate) fn ring_word(&self, position: u64) -> u64 {
        let at = self.layout.ring_at / 8 + position as usize % self.layout.ring;
        self.metadata.words()[at].load(Ordering::Acquire)
    }

    pub(crate) fn lease(&self, number: usize) -> &AtomicU64 {
        &self.page.words()[LEASES + number]
    }

    /// Announces a sleep with a cursor before all frames, so the producer has to wake this client.
    pub(crate) fn announce_sleep(&self) {
        self.page.words()[CURSOR].store(0, Ordering::Relaxed);
        let sleep = &self.page.words()[SLEEP];
        let next = sleep.load(Ordering::Relaxed).wrapping_add(2) | 1;
        sleep.store(next, Ordering::Relaxed);
    }
}
