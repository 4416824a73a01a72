//! Imports in other namespaces, as containers have them.

use std::os::fd::AsFd;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::answer::{Answer, Problem, Question, attempt};
use crate::gpu::{Gpu, MIB, READ, ok};
use crate::link::{Link, Message, Peer};

const SPACES: &[(&str, UnshareFlags)] = &[
    ("user", UnshareFlags::NEWUSER),
    ("pid", UnshareFlags::NEWPID),
    ("mnt", UnshareFlags::NEWNS),
    ("ipc", UnshareFlags::NEWIPC),
    ("net", UnshareFlags::NEWNET),
    ("uts", UnshareFlags::NEWUTS),
];

pub fn ask(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(4 * MIB);
    let (segment, legacy) = (gpu.segment(size)?, gpu.allocate(size)?);
    for address in [segment.address, legacy] {
        gpu.set(address, size, 0x5a)?;
    }
    let message = Message::memory(size, gpu.handle(legacy).unwrap_or_default());
    for spaces in ["", "pid", "pid,mnt", "pid,mnt,ipc,net,uts", "user,pid,mnt"] {
        let ask = || {
            let peer = Peer::start_in(spaces, "stranger", "")?;
            peer.ask(&message, Some(segment.fd.as_fd()))
        };
        let spaces = if spaces.is_empty() { "none" } else { spaces };
        question.line(&format!("import in new namespaces ({spaces})"), ask());
    }
    ok("cuCtxSynchronize", &[])
}

pub fn import(link: &Link, _: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let imported = gpu.import(&fd);
    let imported = imported.and_then(|handle| gpu.map(handle, size, READ));
    let imported = imported.and_then(|address| gpu.is_all(address, size, 0x5a));
    let opened = gpu.open_memory(&message.handle);
    let opened = opened.and_then(|address| gpu.is_all(address, size, 0x5a));
    link.say(format!(
        "as process {}: virtual memory {}; legacy IPC {}",
        std::process::id(),
        attempt(imported),
        attempt(opened)
    ))
}

/// Moves this process, which has one thread, into new namespaces. With one of processes it goes on in a
/// child.
pub fn enter(spaces: &str) -> Answer<()> {
    let flags = SPACES
        .iter()
        .filter(|(name, _)| spaces.split(',').any(|space| space == *name));
    let flags = flags.fold(UnshareFlags::empty(), |all, (_, flag)| all | *flag);
    if flags.is_empty() {
        return Ok(());
    }
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let not_here = |what: &str, error| Problem::NotHere(format!("{what}: {error}"));
    // SAFETY: the process has one thread, and nothing in it depends on what it leaves.
    unsafe { unshare_unsafe(flags) }.map_err(|error| not_here("unshare", error))?;
    if flags.contains(UnshareFlags::NEWUSER) {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        std::fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))?;
    }
    if flags.contains(UnshareFlags::NEWPID) {
        continue_in_child();
    }
    if flags.contains(UnshareFlags::NEWNS) {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|error| not_here("private mounts", error))?;
        mount("proc", "/proc", "proc", MountFlags::empty(), None)
            .map_err(|error| not_here("mount of /proc", error))?;
    }
    Ok(())
}

/// Goes on in a child, which has process ID 1. The parent ends when it does, and ends it if killed.
fn continue_in_child() {
    // SAFETY: the process has one thread, so the child may do all that it could.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it takes numbers. The child ends with its parent.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        return;
    }
    // SAFETY: it waits for the child, and takes no pointer.
    unsafe {
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::_exit(0)
    }
}
