//! Requests to the kernel that act on memory and files that other processes share.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    Advice, FallocateFlags, FlockOperation, SeekFrom, fadvise, fallocate, flock, fsync, ftruncate,
    seek,
};
use xmem_tests::area::Area;
use xmem_tests::attacks::reopen;
use xmem_tests::faults::Faults;
use xmem_tests::hostile::impostor::PAGE;
use xmem_tests::{Line, process};

use crate::kernel;
use crate::target::Target;
use crate::{count, meanwhile};

/// Whether the producer has answered Ready.
static JOINED: AtomicBool = AtomicBool::new(false);

/// Punches holes into the lease page in both ways, from the Welcome on. Only holes that are punched
/// after the producer uses the page count as an effect.
pub(crate) fn punch(settings: &Line, threads: u64) {
    let target: &'static Target = Box::leak(Box::new(Target::welcome(settings)));
    meanwhile(threads, move |number| {
        let joined = JOINED.load(Ordering::Acquire);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punched = match number % 2 {
            0 => fallocate(&target.page_fd, hole, 0, PAGE as u64).is_ok(),
            _ => kernel::advise(&target.page, PAGE, libc::MADV_REMOVE).is_ok(),
        };
        count(punched && joined);
    });
    target.ready();
    target.read_messages();
    JOINED.store(true, Ordering::Release);
}

/// Advice that removes pages from page tables, or moves, merges or writes pages.
const ADVICE: &[i32] = &[
    libc::MADV_REMOVE,
    libc::MADV_PAGEOUT,
    libc::MADV_COLD,
    libc::MADV_HUGEPAGE,
    libc::MADV_COLLAPSE,
    libc::MADV_NOHUGEPAGE,
    libc::MADV_FREE,
    libc::MADV_DONTNEED,
    libc::MADV_MERGEABLE,
    libc::MADV_WILLNEED,
    libc::MADV_POPULATE_READ,
    libc::MADV_POPULATE_WRITE,
];

/// Memory that other processes have too, and a descriptor of it, writable if possible.
struct Shared<'a> {
    area: &'a Area,
    len: usize,
    fd: OwnedFd,
}

impl<'a> Shared<'a> {
    fn new(area: &'a Area, len: usize, fd: &OwnedFd) -> Shared<'a> {
        let copy = || fd.try_clone().expect("a descriptor");
        let again = reopen(&format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let fd = again.unwrap_or_else(|_| copy());
        Shared { area, len, fd }
    }

    /// Makes all requests once. A hole counts as an effect.
    fn attack(&self) {
        for &advice in ADVICE {
            let done = kernel::advise(self.area, self.len, advice).is_ok();
            count(done && advice == libc::MADV_REMOVE);
        }
        let _ = kernel::bind(self.area, self.len);
        kernel::disturb(self.area, self.len, &self.fd);
        let size = self.len as u64;
        for advice in [Advice::DontNeed, Advice::WillNeed, Advice::Random] {
            let _ = fadvise(&self.fd, 0, None, advice);
        }
        let _ = fsync(&self.fd);
        let _ = seek(&self.fd, SeekFrom::Hole(0));
        let _ = flock(&self.fd, FlockOperation::NonBlockingLockExclusive);
        let _ = fallocate(&self.fd, FallocateFlags::empty(), 0, size);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        count(fallocate(&self.fd, hole, 0, size).is_ok());
        count(ftruncate(&self.fd, 0).is_ok());
    }
}

/// Makes all requests on the lease page, the metadata segment and the first payload segment.
pub(crate) fn advise(settings: &Line, threads: u64) {
    let target: &'static Target = Box::leak(Box::new(Target::welcome(settings)));
    target.ready();
    let payload: &'static _ = Box::leak(Box::new(target.first_segment()));
    target.read_messages();
    meanwhile(threads, move |_| {
        let page = Shared::new(&target.page, PAGE, &target.page_fd);
        let metadata = Shared::new(&target.metadata, target.layout.size, &target.metadata_fd);
        let payload = Shared::new(&payload.0, payload.1, &payload.2);
        loop {
            page.attack();
            metadata.attack();
            payload.attack();
        }
    });
}

/// Writes to the lease page from memory whose page fault does not end. The kernel holds the lock of
/// the file meanwhile, which adding a seal needs too. Then sends Ready.
pub(crate) fn hang(settings: &Line, faults: Option<Faults>) {
    let target: &'static Target = Box::leak(Box::new(Target::welcome(settings)));
    hang_in(faults, |faults| faults.write_to(&target.page_fd));
    target.say_ready();
}

/// Reads the first payload segment into memory whose page fault does not end. The kernel holds the
/// lock of the open file description meanwhile.
pub(crate) fn read(settings: &Line, faults: Option<Faults>) {
    let target: &'static Target = Box::leak(Box::new(Target::welcome(settings)));
    target.ready();
    let (_, _, fd) = target.first_segment();
    target.read_messages();
    // Other processes share the file position.
    seek(&fd, SeekFrom::Start(0)).expect("a file");
    hang_in(faults, move |faults| faults.read_from(&fd));
}

/// Makes a call that does not return, in a thread of its own.
fn hang_in<T: Send + 'static>(
    faults: Option<Faults>,
    call: impl FnOnce(&Faults) -> T + Send + 'static,
) {
    let faults = faults.expect("userfaultfd, which root may use");
    let thread = std::thread::Builder::new().name("hanging".into());
    thread.spawn(move || call(&faults)).expect("a thread");
    assert!(process::falls_asleep(std::process::id(), "hanging"));
}
