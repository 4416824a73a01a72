//! Limits of a running process, lowered from outside.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::process;
use crate::wait::until;

/// A lowered limit. Dropping the value restores the former limit.
#[derive(Debug)]
pub struct Lowered {
    pid: u32,
    resource: Resource,
    before: Rlimit,
}

/// Lowers a limit of a process.
pub fn lower(pid: u32, resource: Resource, to: u64) -> Lowered {
    let before = read(pid, resource);
    let lowered = Rlimit {
        current: Some(to),
        maximum: before.maximum,
    };
    let process = Pid::from_raw(pid as i32);
    prlimit(process, resource, lowered).expect("the limits of a child can be set");
    Lowered {
        pid,
        resource,
        before,
    }
}

/// Limits the descriptors of a process, which must be waiting, to `room` more than it has.
/// Descriptors of frame memory do not become free for others when the process closes them.
///
/// # Panics
/// If the process does not wait.
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

/// Limits the address space of a process, which must be waiting, to `room` bytes more than it has.
///
/// # Panics
/// If the process does not wait.
pub fn leave_addresses(pid: u32, room: u64) -> Lowered {
    until_it_waits(pid);
    let statm =
        std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the size of the process");
    let pages = statm
        .split_whitespace()
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    let bytes = pages.expect("a number of pages") * rustix::param::page_size() as u64;
    lower(pid, Resource::As, bytes + room)
}

/// Waits until the process waits, because what it has only for a moment must not count: a
/// descriptor that it has just received, or the address space of a thread that starts.
fn until_it_waits(pid: u32) {
    until("all threads of the process wait", || {
        process::thread_states(pid)
            .iter()
            .all(|&state| state == 'S')
    });
}

/// Reads a limit from `/proc`, because `prlimit` of rustix always sets one.
fn read(pid: u32, resource: Resource) -> Rlimit {
    let name = match resource {
        Resource::Nofile => "Max open files",
        Resource::As => "Max address space",
        Resource::Fsize => "Max file size",
        other => panic!("{other:?} is not a limit that tests lower"),
    };
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut numbers = line.expect("a limit with this name").split_whitespace();
    // "unlimited" is not a number.
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    let (current, maximum) = (next(), next());
    Rlimit { current, maximum }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        // The process may have ended.
        let process = Pid::from_raw(self.pid as i32);
        let _ = prlimit(process, self.resource, self.before);
    }
}
