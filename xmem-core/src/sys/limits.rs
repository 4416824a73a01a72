//! Checks of resources before they are used, if the kernel reports a lack by a signal instead of an
//! error.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::rlimit::limit;
use crate::error::{Error, Result};

/// Smaller amounts are added up and checked together: a check of each costs too much.
const SMALL: usize = 1 << 20;
/// The sum of the small amounts since the last check, in bytes.
static UNSEEN: AtomicUsize = AtomicUsize::new(0);

/// If other processes ask for memory, one in this many bytes of all memory stays free.
const RESERVE: u64 = 16;
/// The number of descriptors that stay free for other uses.
const SPARE_DESCRIPTORS: u64 = 16;
/// Above this `RLIMIT_NOFILE`, free descriptors are not looked for.
const MANY_DESCRIPTORS: u64 = 4096;

/// Checks that a file may have `len` bytes.
///
/// If a process makes a larger file, it gets `SIGXFSZ`, which ends the process by default.
///
/// # Errors
/// [`Error::ResourceExhausted`] beyond `RLIMIT_FSIZE`.
pub(crate) fn check_file_size(len: usize) -> Result<()> {
    match limit(libc::RLIMIT_FSIZE as i32) {
        Some(limit) if limit < len as u64 => Err(Error::memory("ftruncate")(Errno::FBIG)),
        _ => Ok(()),
    }
}

/// Checks that `len` bytes of memory are available, as far as that can be known.
///
/// If memory is touched and is not available, that is no error but a `SIGKILL`, for this process or
/// another one. That can still happen after this check, because other processes take memory at the
/// same time.
///
/// # Errors
/// [`Error::ResourceExhausted`] if the machine or a control group has less.
pub(crate) fn check_memory(len: usize) -> Result<()> {
    // Relaxed: a counter of this process; no other data depends on it.
    let unseen = UNSEEN.fetch_add(len, Ordering::Relaxed);
    if unseen.saturating_add(len) < SMALL {
        return Ok(());
    }
    UNSEEN.store(0, Ordering::Relaxed);
    look(len, |room| room.left)
}

/// Does the same for copies of data from another process, which may have any length. Short copies
/// are not checked, because there are few of them.
pub(crate) fn check_copies(len: usize) -> Result<()> {
    if len < SMALL {
        Ok(())
    } else {
        look(len, |room| room.left)
    }
}

/// Does the same for memory that other processes ask this process to make: a sixteenth of all
/// memory stays free for other uses of the machine.
pub(crate) fn check_memory_for_others(len: usize) -> Result<()> {
    look(len, |room| room.left.saturating_sub(room.all / RESERVE))
}

/// The memory of a machine or a control group.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    /// All bytes.
    all: u64,
    /// The bytes that are available without taking them from other processes.
    left: u64,
}

fn look(len: usize, usable: impl Fn(&Room) -> u64) -> Result<()> {
    let figures = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = room_in_groups(free_swap(&figures));
    let rooms = room_on_machine(&figures).into_iter().chain(groups);
    match rooms.map(|room| usable(&room)).min() {
        Some(usable) if usable < len as u64 => {
            Err(Error::memory("looking for free memory")(Errno::NOMEM))
        }
        _ => Ok(()),
    }
}

/// Returns whether the process can keep one more optional descriptor beside `kept` others. They are
/// at most a quarter of `RLIMIT_NOFILE`, and some descriptors stay free.
pub(crate) fn has_spare_descriptors(fd: impl AsFd, kept: usize) -> bool {
    let Some(limit) = limit(libc::RLIMIT_NOFILE as i32) else {
        return true;
    };
    if kept as u64 >= limit / 4 {
        return false;
    }
    if limit > MANY_DESCRIPTORS {
        return true;
    }
    // The kernel assigns the lowest free number: if this high number is free, usually all above it
    // are free, too.
    let last = limit.saturating_sub(SPARE_DESCRIPTORS) as i32;
    let found = rustix::io::fcntl_dupfd_cloexec(fd, last);
    found.is_ok_and(|found| found.as_raw_fd() == last)
}

fn room_on_machine(figures: &str) -> Option<Room> {
    Some(Room {
        all: entry(figures, "MemTotal:")? * 1024,
        left: entry(figures, "MemAvailable:")? * 1024 + free_swap(figures),
    })
}

/// Returns the free swap in bytes.
fn free_swap(figures: &str) -> u64 {
    entry(figures, "SwapFree:").unwrap_or(0) * 1024
}

/// Returns the number after a name at the start of a line.
fn entry(figures: &str, name: &str) -> Option<u64> {
    let mut lines = figures.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

/// Returns the memory of each control group of this process, from its own to the root.
fn room_in_groups(swap: u64) -> Vec<Room> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.lines()
        .filter_map(Group::of)
        .flat_map(|(group, directories)| {
            let room = move |directory: PathBuf| group.room(&directory, swap);
            directories.into_iter().filter_map(room)
        })
        .collect()
}

/// The files of a control group, by the version of the interface.
struct Group {
    limit: &'static str,
    usage: &'static str,
    swap_limit: &'static str,
    swap_usage: &'static str,
    /// The entries of `memory.stat` for memory that the kernel reclaims if other memory is needed.
    reclaimable: [&'static str; 2],
}

const V1: Group = Group {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    // The limit of v1 is for memory and swap together, and adds nothing to the other limits.
    swap_limit: "",
    swap_usage: "",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

const V2: Group = Group {
    limit: "memory.max",
    usage: "memory.current",
    swap_limit: "memory.swap.max",
    swap_usage: "memory.swap.current",
    reclaimable: ["inactive_file", "active_file"],
};

impl Group {
    /// Returns the version of the interface for a line of `/proc/self/cgroup`, and the directories
    /// of the group and the groups above it, which have the files with the limits.
    fn of(line: &str) -> Option<(Group, Vec<PathBuf>)> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (group, root) = match controllers {
            "" => (V2, "/sys/fs/cgroup"),
            list if list.split(',').any(|name| name == "memory") => (V1, "/sys/fs/cgroup/memory"),
            _ => return None,
        };
        let own = Path::new(path).strip_prefix("/").ok()?;
        let directories = own.ancestors().map(|path| Path::new(root).join(path));
        Some((group, directories.collect()))
    }

    /// Returns the memory of the group; `None` if it has no limit, or is not visible to this
    /// process.
    fn room(&self, directory: &Path, swap: u64) -> Option<Room> {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit = number(self.limit)?;
        let figures = read("memory.stat").unwrap_or_default();
        let reclaimable = self.reclaimable.iter();
        let reclaimable: u64 = reclaimable.filter_map(|name| entry(&figures, name)).sum();
        let swap_used = number(self.swap_usage).unwrap_or(0);
        let swap_left = number(self.swap_limit).map(|limit| limit.saturating_sub(swap_used));
        let used = number(self.usage)?.saturating_sub(reclaimable);
        let left = limit.saturating_sub(used);
        Some(Room {
            all: limit,
            left: left.saturating_add(swap_left.unwrap_or(swap).min(swap)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_some_memory_left_and_not_all_there_could_be() {
        let figures = fs::read_to_string("/proc/meminfo").unwrap();
        let Room { all, left } = room_on_machine(&figures).expect("Linux tells");
        assert!(left > 1 << 20 && left < 1 << 50, "{left} bytes");
        assert!(all < 1 << 50, "{all} bytes");
        assert!(check_memory(SMALL).is_ok());
        let error = check_memory(1 << 60).unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }

    #[test]
    fn a_group_that_can_not_be_seen_has_no_limit() {
        let (group, directories) = Group::of("0::/a/b").unwrap();
        let names: Vec<_> = directories
            .iter()
            .filter_map(|path| path.to_str())
            .collect();
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"];
        assert_eq!(names, expected);
        assert_eq!(group.room(Path::new("/nonexistent"), 0), None);
        assert!(Group::of("3:cpuset:/").is_none());
        assert!(Group::of("4:hugetlb,memory:/x").is_some());
        assert!(Group::of("garbage").is_none());
    }

    #[test]
    fn a_group_gives_what_its_limit_leaves_and_what_it_can_reclaim() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let left = |swap| V2.room(directory.path(), swap).map(|room| room.left);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(left(0), None);
        write("memory.max", "1000\n");
        write(
            "memory.stat",
            "anon 500\ninactive_file 30\nactive_file 20\n",
        );
        assert_eq!(left(0), Some(350));
        assert_eq!(left(40), Some(390));
        write("memory.swap.max", "10\n");
        write("memory.swap.current", "4\n");
        assert_eq!(left(40), Some(356));
        write("memory.current", "5000\n");
        assert_eq!(left(0), Some(0));
    }
}
