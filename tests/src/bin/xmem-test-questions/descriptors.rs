//! What an exported descriptor is, and what the driver takes as one.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{MemfdFlags, fcntl_get_seals, fcntl_getfl, ftruncate, memfd_create};
use rustix::io::fcntl_getfd;

use crate::answer::{Answer, Question, attempt};
use crate::gpu::{Gpu, MIB, READ, call, name};
use crate::link::{Link, Message, Peer};

pub fn ask(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(4 * MIB);
    let segment = gpu.segment(size)?;
    gpu.set(segment.address, size, 0x5a)?;
    let fd = &segment.fd;
    let again = gpu.export(segment.handle)?;
    let own = |part: &str| format!("/proc/self/{part}/{}", fd.as_raw_fd());
    question.line("fstat of an exported descriptor", describe(fd));
    let flags = || Ok(format!("{:?}, {:?}", fcntl_getfl(fd)?, fcntl_getfd(fd)?));
    question.line("its flags", flags());
    let seals = fcntl_get_seals(fd).map(|seals| format!("{seals:?}"));
    question.line("its seals", seals.map_err(Into::into));
    let info = fs::read_to_string(own("fdinfo")).map(|text| text.replace(['\n', '\t'], " "));
    question.line("its fdinfo", info.map_err(Into::into));
    let inodes = || Ok(format!("{}, {}", inode(fd)?, inode(&again)?));
    question.line("inodes of two exports of one allocation", inodes());
    question.line("mmap of it by the CPU", mmap(fd, size));
    for (part, what) in [(size / 2, "half of it"), (size * 2, "twice as much")] {
        let mapped = gpu.reserve(part);
        let mapped =
            mapped.and_then(|address| call("cuMemMap", &[address, part, 0, segment.handle, 0]));
        question.line(&format!("mapping of {what}"), mapped.map(name));
    }

    let mut client = Client(None);
    let opened = |write: bool| -> Answer<OwnedFd> {
        let mut options = OpenOptions::new();
        Ok(options.read(true).write(write).open(own("fd"))?.into())
    };
    let other = || -> Answer<OwnedFd> {
        let memfd = memfd_create("other", MemfdFlags::CLOEXEC)?;
        ftruncate(&memfd, size)?;
        Ok(memfd)
    };
    question.line("import by another process", client.import(fd.as_fd()));
    question.line("import of a second export", client.import(again.as_fd()));
    for (what, fd) in [
        ("a duplicate", fd.try_clone().map_err(Into::into)),
        ("it, opened again for reading by /proc", opened(false)),
        ("it, opened again for writing by /proc", opened(true)),
        ("a memfd", other()),
        (
            "/dev/null",
            File::open("/dev/null").map(Into::into).map_err(Into::into),
        ),
    ] {
        let answer = fd.and_then(|fd| client.import(fd.as_fd()));
        question.line(&format!("import of {what}"), answer);
    }
    let number = client.ask(&Message::memory(size, vec![1]), None);
    question.line("import of a number that is no descriptor", number);
    question.line("a good one afterwards", client.import(fd.as_fd()));
    Ok(())
}

fn inode(fd: &OwnedFd) -> Answer<u64> {
    Ok(File::from(fd.try_clone()?).metadata()?.ino())
}

fn describe(fd: &OwnedFd) -> Answer {
    let file = File::from(fd.try_clone()?).metadata()?;
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let kind = match file.mode() & libc::S_IFMT {
        libc::S_IFCHR => "character device",
        libc::S_IFREG => "regular file",
        libc::S_IFSOCK => "socket",
        0 => "no type",
        _ => "other",
    };
    let device = file.rdev();
    Ok(format!(
        "{kind}, mode {:o}, device {}:{}, size {}, links {}, /proc says {}",
        file.mode(),
        libc::major(device),
        libc::minor(device),
        file.size(),
        file.nlink(),
        link.display()
    ))
}

fn mmap(fd: &OwnedFd, size: u64) -> Answer {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    // SAFETY: a new mapping, which nothing uses.
    unsafe {
        let flags = MapFlags::SHARED;
        let mapped = mmap(
            std::ptr::null_mut(),
            size as usize,
            ProtFlags::READ,
            flags,
            fd,
            0,
        )?;
        munmap(mapped, size as usize)?;
    }
    Ok("works".into())
}

/// A process that imports descriptors. It starts again if one has ended it.
struct Client(Option<Peer>);

impl Client {
    fn import(&mut self, fd: BorrowedFd<'_>) -> Answer {
        self.ask(&Message::default(), Some(fd))
    }

    fn ask(&mut self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Answer {
        if self.0.as_mut().is_none_or(Peer::has_ended) {
            self.0 = Some(Peer::start("importer", "")?);
        }
        let peer = self.0.as_ref();
        peer.map_or_else(|| Ok("no process".into()), |peer| peer.ask(message, fd))
    }
}

pub fn import(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(4 * MIB);
    loop {
        let (message, fd) = link.receive_within(std::time::Duration::from_secs(60))?;
        // A number that is no descriptor is announced by a handle.
        let number = match &fd {
            Some(fd) => fd.as_raw_fd(),
            None => 900 + i32::from(message.handle.first().copied().unwrap_or(0)),
        };
        let imported = gpu.import_number(number);
        let read = |handle| {
            let address = gpu.map(handle, size, READ)?;
            gpu.is_all(address, size, 0x5a)
        };
        let answer =
            imported.map(|handle| format!("imported, mapped and read: {}", attempt(read(handle))));
        link.say(attempt(answer))?;
    }
}
