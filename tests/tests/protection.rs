//! A client can't write a frame: the kernel forbids it, in whatever way it tries.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};

use xmem_tests::wire::{self, Connection};
use xmem_tests::{Peer, Place, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");
const SIZE: usize = 64 * 1024;

/// A mapping of the first page of something, which is never touched.
struct Map(*mut c_void);

const PAGE: usize = 4096;

impl Map {
    fn new(fd: BorrowedFd<'_>, access: ProtFlags) -> Result<Map, Errno> {
        // SAFETY: without MAP_FIXED the kernel chooses a range where nothing is.
        unsafe { mmap(std::ptr::null_mut(), PAGE, access, MapFlags::SHARED, fd, 0) }.map(Map)
    }

    fn make_writable(&self) -> Result<(), Errno> {
        // SAFETY: the range is a mapping of our own, and nobody has a reference into it.
        unsafe { mprotect(self.0, PAGE, MprotectFlags::READ | MprotectFlags::WRITE) }
    }

    fn remove_pages(&self) -> Result<(), Errno> {
        // SAFETY: as above; if it worked, the file would have a hole, and the test would fail.
        unsafe { madvise(self.0, PAGE, Advice::LinuxRemove) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range is a mapping of our own that nobody uses any more.
        let _ = unsafe { munmap(self.0, PAGE) };
    }
}

/// What a client was given: a producer that is another process, the connection, and descriptors.
struct Victim {
    place: Place,
    producer: Peer,
    _connection: Connection,
    metadata: OwnedFd,
    page: OwnedFd,
    payload: OwnedFd,
}

impl Victim {
    fn new() -> Victim {
        let place = Place::new();
        let settings = format!("producer channel=cam0 slots=2 slot-size={SIZE}");
        let mut producer = Peer::start(PEER, &place, &settings);
        producer.wait_for("opened");
        producer.ask(
            &format!("publish count=1 size={SIZE} extra=600"),
            "published",
        );
        let connection = Connection::open(&place.socket("cam0"));
        let welcome = connection.greet(wire::VERSION, 4);
        assert_eq!(welcome.kind, wire::WELCOME);
        let [metadata, page] = welcome.fds.try_into().expect("two descriptors");
        let mut segment = connection.receive_kind(wire::SEGMENT);
        Victim {
            place,
            producer,
            _connection: connection,
            metadata,
            page,
            payload: segment.fds.remove(0),
        }
    }

    /// What no client may write.
    fn frames(&self) -> [(&str, BorrowedFd<'_>); 2] {
        [
            ("metadata", self.metadata.as_fd()),
            ("payload", self.payload.as_fd()),
        ]
    }

    /// A client that has done nothing wrong still receives what it should.
    fn is_unharmed(&mut self) {
        let mut client = Peer::start(PEER, &self.place, "client channel=cam0");
        client.wait_for("ready");
        client.ask("connect", "connected");
        let received = client.ask("receive count=1", "received");
        assert_eq!(received.number("first"), 0);
        let order = format!("publish count=10 size={SIZE}");
        self.producer.ask(&order, "published");
        client.ask("receive count=1", "received");
    }
}

/// Everything that can be tried on a descriptor, whatever it was opened for.
fn cannot_be_written_through(fd: BorrowedFd<'_>, what: &str) {
    let refused = |result: Result<(), Errno>, how: &str| {
        assert!(result.is_err(), "{what} was changed by {how}");
    };
    let file = std::fs::File::from(fd.try_clone_to_owned().unwrap());
    assert!((&file).write(b"!").is_err(), "{what}: write");
    assert!(file.write_at(b"!", 64).is_err(), "{what}: pwrite");
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    refused(Map::new(fd, writable).map(drop), "a writable mapping");
    refused(Map::new(fd, ProtFlags::WRITE).map(drop), "a mapping");
    let map = Map::new(fd, ProtFlags::READ).unwrap();
    refused(map.make_writable(), "mprotect");
    refused(map.remove_pages(), "MADV_REMOVE");
    // The kernel's door for debuggers does not open shared memory either.
    let memory = OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let at = map.0 as u64 + 64;
    assert!(memory.write_at(b"!", at).is_err(), "{what}: /proc/self/mem");
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    refused(fallocate(fd, hole, 0, PAGE as u64), "a hole");
    refused(fallocate(fd, FallocateFlags::ZERO_RANGE, 0, 64), "zeroes");
    refused(
        fallocate(fd, FallocateFlags::COLLAPSE_RANGE, 0, PAGE as u64),
        "collapsing",
    );
    refused(ftruncate(fd, 0), "ftruncate to nothing");
    refused(ftruncate(fd, 1 << 30), "ftruncate to more");
    refused(fcntl_add_seals(fd, SealFlags::WRITE), "one seal more");
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&writer, &[7; 64]).unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    let spliced = rustix::pipe::splice(&reader, None, fd, Some(&mut 0), 64, flags);
    refused(spliced.map(drop), "splice");
    let source = std::fs::File::open("/proc/self/exe").unwrap();
    let sent = rustix::fs::sendfile(fd, &source, None, 64);
    refused(sent.map(drop), "sendfile");
    let copied = rustix::fs::copy_file_range(&source, Some(&mut 0), fd, Some(&mut 0), 64);
    refused(copied.map(drop), "copy_file_range");
}

/// The file again, opened for writing, where the kernel allows that much.
fn reopened(path: &str) -> Option<OwnedFd> {
    let truncated = OpenOptions::new().write(true).truncate(true).open(path);
    assert!(truncated.is_err(), "{path} was truncated");
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_CLOEXEC);
    options.open(path).ok().map(OwnedFd::from)
}

#[test]
fn the_descriptors_that_a_client_gets_can_only_read() {
    let mut victim = Victim::new();
    for (what, fd) in victim.frames() {
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        let access = flags & rustix::fs::OFlags::RWMODE;
        assert_eq!(access, rustix::fs::OFlags::RDONLY, "{what}");
        cannot_be_written_through(fd, what);
    }
    victim.is_unharmed();
}

#[test]
fn frames_opened_again_for_writing_cannot_be_written() {
    let mut victim = Victim::new();
    for (what, fd) in victim.frames() {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        if let Some(writable) = reopened(&path) {
            cannot_be_written_through(writable.as_fd(), what);
        }
    }
    victim.is_unharmed();
}

/// A process of the same user finds the producer's own descriptors and mappings.
#[test]
fn what_the_producer_has_open_does_not_help_either() {
    let mut victim = Victim::new();
    let pid = victim.producer.pid();
    let mut tried = 0;
    for (number, name) in process::fds(pid) {
        let name = name.to_string_lossy().into_owned();
        if ["xmem-metadata", "xmem-payload"]
            .iter()
            .any(|memory| name.contains(memory))
        {
            tried += 1;
            if let Some(writable) = reopened(&format!("/proc/{pid}/fd/{number}")) {
                cannot_be_written_through(writable.as_fd(), &name);
            }
        }
    }
    assert!(tried >= 2);
    for map in process::maps(pid, "xmem-") {
        if map.name.contains("xmem-leases") {
            continue;
        }
        let range = format!("{:x}-{:x}", map.start, map.start + map.len);
        // Needs privileges, which a test may have.
        if let Some(writable) = reopened(&format!("/proc/{pid}/map_files/{range}")) {
            cannot_be_written_through(writable.as_fd(), &map.name);
        }
    }
    victim.is_unharmed();
}

/// Were the lease page smaller, the producer would be killed by SIGBUS when it reads it.
#[test]
fn the_lease_page_can_be_written_and_keeps_its_size() {
    let mut victim = Victim::new();
    let page = &victim.page;
    Map::new(page.as_fd(), ProtFlags::READ | ProtFlags::WRITE).unwrap();
    assert_eq!(ftruncate(page, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(page, 1 << 20), Err(Errno::PERM));
    assert_eq!(fcntl_add_seals(page, SealFlags::WRITE), Err(Errno::PERM));
    victim.is_unharmed();
}

#[test]
fn a_client_maps_all_but_its_lease_page_read_only() {
    let place = Place::new();
    let mut producer = Peer::start(PEER, &place, "producer channel=cam0");
    producer.wait_for("opened");
    producer.ask("publish count=1 size=100000", "published");
    let mut client = Peer::start(PEER, &place, "client channel=cam0");
    client.wait_for("ready");
    client.ask("connect", "connected");
    client.ask("hold count=1", "holding");
    let accesses = |name| -> Vec<String> {
        let maps = process::maps(client.pid(), name).into_iter();
        maps.map(|map| map.access).collect()
    };
    assert_eq!(accesses("xmem-metadata"), ["r--s"]);
    assert_eq!(accesses("xmem-leases"), ["rw-s"]);
    let payload = accesses("xmem-payload");
    assert!(!payload.is_empty() && payload.iter().all(|access| access == "r--s"));
    // And it keeps no descriptor of them.
    let is_ours = |(_, name): &(u32, PathBuf)| name.to_string_lossy().contains("xmem-");
    until("the client has closed what it was sent", || {
        !process::fds(client.pid()).iter().any(is_ours)
    });
}
