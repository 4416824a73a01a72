//! Limits of a process, lowered from outside while it runs.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::process;
use crate::wait::until;

/// A limit that was lowered. Dropping it makes it what it was.
#[derive(Debug)]
pub struct Lowered {
    pid: u32,
    resource: Resource,
    before: Rlimit,
}

/// Lowers a process's limit.
pub fn lower(pid: u32, resource: Resource, to: u64) -> Lowered {
    let before = read(pid, resource);
    let lowered = Rlimit {
        current: Some(to),
        maximum: before.maximum,
    };
    let process = Pid::from_raw(pid as i32);
    prlimit(process, resource, lowered).expect("a child's limits can be set");
    Lowered {
        pid,
        resource,
        before,
    }
}

/// Leaves a process that waits `room` descriptors more than it has. Those of frames' memory don't
/// become room for others when it closes them.
///
/// # Panics
/// When it does not wait.
pub fn leave_descriptors(pid: u32, room: usize) -> Lowered {
    until_it_waits(pid);
    let fds = process::fds(pid);
    let counts = |name: &std::path::Path| !name.to_string_lossy().contains("xmem-payload");
    let is_free = |number: &u32| {
        let mut counting = fds.iter().filter(|(_, name)| counts(name));
        counting.all(|(used, _)| used != number)
    };
    let beyond = (0..).filter(is_free).nth(room);
    lower(pid, Resource::Nofile, u64::from(beyond.unwrap_or(u32::MAX)))
}

/// Leaves a process that waits `room` bytes of addresses more than it has.
///
/// # Panics
/// When it does not wait.
pub fn leave_addresses(pid: u32, room: u64) -> Lowered {
    until_it_waits(pid);
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process's size");
    let pages = statm
        .split_whitespace()
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    let bytes = pages.expect("a number of pages") * rustix::param::page_size() as u64;
    lower(pid, Resource::As, bytes + room)
}

/// What it has for a moment only must not count: a descriptor that it has just been sent, the
/// addresses that a thread takes when it starts.
fn until_it_waits(pid: u32) {
    until("all its threads wait", || {
        process::thread_states(pid)
            .iter()
            .all(|&state| state == 'S')
    });
}

/// As `/proc` tells it: rustix's `prlimit` always sets.
fn read(pid: u32, resource: Resource) -> Rlimit {
    let name = match resource {
        Resource::Nofile => "Max open files",
        Resource::As => "Max address space",
        Resource::Fsize => "Max file size",
        other => panic!("{other:?} is no limit that a test lowers"),
    };
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut numbers = line.expect("a limit of this name").split_whitespace();
    // "unlimited" is no number.
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    let (current, maximum) = (next(), next());
    Rlimit { current, maximum }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        // It may have ended by now.
        let process = Pid::from_raw(self.pid as i32);
        let _ = prlimit(process, self.resource, self.before);
    }
}
