//! A client cannot write to a frame, whatever it tries: the kernel refuses it.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    Mode, OFlags, SealFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags, fchmod, fcntl_add_seals,
    fsetxattr, fstat, ftruncate, futimens, open,
};
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use xmem_tests::attacks::{self, Map, ON_CONTENT, PAGE};
use xmem_tests::nobody::run_as_nobody;
use xmem_tests::producer::Publish;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Client, Place, Producer, process, until};

const SIZE: usize = 64 * 1024;

/// What a client has: a producer that is another process, the connection, and descriptors.
struct Victim {
    place: Place,
    producer: Producer,
    _connection: Connection,
    metadata: OwnedFd,
    page: OwnedFd,
    /// Mapped before it was sealed.
    lease_page: Map,
    payload: OwnedFd,
}

impl Victim {
    fn new() -> Victim {
        let place = Place::new();
        let mut producer = Producer::start(&place, &format!("slots=2 slot-size={SIZE}"));
        producer.ask(Publish::frames(1, SIZE).extra(600));
        let connection = Connection::open(&place.socket("cam0"));
        let welcome = connection.greet(wire::VERSION, 4);
        assert_eq!(welcome.kind, wire::WELCOME);
        let [metadata, page] = welcome.fds.try_into().expect("two descriptors");
        let lease_page = Map::new(&page, 0, ProtFlags::READ | ProtFlags::WRITE).expect("a page");
        connection.join(&page);
        let mut segment = connection.receive_kind(wire::SEGMENT);
        Victim {
            place,
            producer,
            _connection: connection,
            metadata,
            page,
            lease_page,
            payload: segment.fds.remove(0),
        }
    }

    /// The memory that no client may write.
    fn frames(&self) -> [(&str, BorrowedFd<'_>); 2] {
        [
            ("metadata", self.metadata.as_fd()),
            ("payload", self.payload.as_fd()),
        ]
    }

    /// Checks that an honest client still receives frames.
    fn is_unharmed(&mut self) {
        let mut client = Client::connected(&self.place, "");
        let received = client.receive(1);
        assert_eq!(received.number("first"), 0);
        self.producer.publish(10, SIZE);
        client.receive(1);
    }
}

/// Tries everything on a descriptor, however it was opened.
fn cannot_be_written_through(fd: BorrowedFd<'_>, what: &str) {
    Map::new(fd, 0, ProtFlags::READ).expect("the memory can be read");
    for attack in attacks::ON_CONTENT.iter().chain(attacks::ON_SIZE) {
        let refused = attack.attempt(fd, 0).is_err();
        assert!(refused, "{what} was changed by {}", attack.name);
    }
}

/// Opens the file again for writing; `None` if the kernel refuses that.
fn reopened(path: &str) -> Option<OwnedFd> {
    let truncated = OpenOptions::new().write(true).truncate(true).open(path);
    assert!(truncated.is_err(), "{path} was truncated");
    attacks::reopen(path).ok()
}

/// The flags with which a process has opened a descriptor.
fn access_of(pid: u32, number: u32) -> OFlags {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).unwrap();
    OFlags::from_bits_retain(flags) & OFlags::RWMODE
}

#[test]
fn the_descriptors_that_a_client_gets_can_only_read() {
    let mut victim = Victim::new();
    for (what, fd) in victim.frames() {
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        let access = flags & OFlags::RWMODE;
        assert_eq!(access, OFlags::RDONLY, "{what}");
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

/// A process of the same user finds the descriptors and mappings of the producer itself.
#[test]
fn descriptors_of_the_producer_do_not_allow_writing_either() {
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

/// If the lease page could shrink, the producer would be killed by SIGBUS when it reads the page.
/// If the page could have a hole, the access would be a page fault.
#[test]
fn the_lease_page_can_be_written_where_it_was_mapped_and_keeps_its_memory() {
    let mut victim = Victim::new();
    let page = &victim.page;
    victim.lease_page.write();
    assert_eq!(ftruncate(page, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(page, 1 << 20), Err(Errno::PERM));
    assert_eq!(fcntl_add_seals(page, SealFlags::WRITE), Err(Errno::PERM));
    for attack in ON_CONTENT {
        let refused = attack.attempt(page.as_fd(), 0);
        assert!(
            refused.is_err(),
            "the lease page was changed by {}",
            attack.name
        );
    }
    assert_eq!(victim.lease_page.remove_pages(), Err(Errno::PERM));
    assert_eq!(fstat(page).unwrap().st_blocks * 512, PAGE as i64);
    victim.lease_page.write();
    victim.is_unharmed();
}

#[test]
fn a_client_maps_everything_but_its_lease_page_read_only() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    producer.publish(1, 100000);
    let mut client = Client::connected(&place, "");
    client.hold(1);
    let accesses = |name| -> Vec<String> {
        let maps = process::maps(client.pid(), name).into_iter();
        maps.map(|map| map.access).collect()
    };
    assert_eq!(accesses("xmem-metadata"), ["r--s"]);
    assert_eq!(accesses("xmem-leases"), ["rw-s"]);
    let payload = accesses("xmem-payload");
    assert!(!payload.is_empty() && payload.iter().all(|access| access == "r--s"));
    // The only kind of descriptor that it keeps gives no more rights to a process that finds it in
    // /proc.
    let kept = |what: &str| -> Vec<u32> {
        let fds = process::fds(client.pid()).into_iter();
        let named = |(_, name): &(u32, PathBuf)| name.to_string_lossy().contains(what);
        fds.filter(named).map(|(number, _)| number).collect()
    };
    until("the client has closed what it does not need", || {
        kept("xmem-metadata").is_empty() && kept("xmem-leases").is_empty()
    });
    let payloads = kept("xmem-payload");
    assert_eq!(payloads.len(), payload.len());
    for number in payloads {
        let path = format!("/proc/{}/fd/{number}", client.pid());
        let access = access_of(client.pid(), number);
        assert_eq!(access, OFlags::RDONLY, "{path}");
        let reader = std::fs::File::open(&path).unwrap();
        cannot_be_written_through(reader.as_fd(), &path);
        if let Some(writable) = reopened(&path) {
            cannot_be_written_through(writable.as_fd(), &path);
        }
    }
}

/// Extended attributes use kernel memory as long as the producer keeps the file.
#[test]
fn another_user_changes_no_attribute_of_shared_memory() {
    let victim = Victim::new();
    let [metadata, payload] = victim.frames();
    let memory = [metadata, payload, ("lease page", victim.page.as_fd())];
    run_as_nobody(move || {
        for (what, fd) in memory {
            let set = fsetxattr(fd, "user.x", &[0; 1000], XattrFlags::empty());
            assert!(set.is_err(), "{what}");
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            };
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            assert_eq!(futimens(fd, &times), Err(Errno::ACCESS), "{what}");
            assert_eq!(fchmod(fd, Mode::RWXU), Err(Errno::PERM), "{what}");
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let opened = open(path, OFlags::RDWR, Mode::empty());
            assert_eq!(opened.unwrap_err(), Errno::ACCESS, "{what}");
        }
    });
}
