//! What must be asked for before it is taken: where the kernel answers with a signal, not an error.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::rlimit::limit;
use crate::error::{Error, Result};

/// Less than this is not worth the look: small pieces are looked at together.
const SMALL: usize = 1 << 20;
/// Bytes of the small pieces since the last look.
static UNSEEN: AtomicUsize = AtomicUsize::new(0);

/// The part of all memory that is left where others ask for it: one in so many.
const RESERVE: u64 = 16;
/// Descriptors that are left for others.
const SPARE_DESCRIPTORS: u64 = 16;
/// So many that they are not counted.
const MANY_DESCRIPTORS: u64 = 4096;

/// Whether a file may have so many bytes.
///
/// A larger one costs its maker a `SIGXFSZ`, whose default is the end of the process.
///
/// # Errors
/// [`Error::ResourceExhausted`] beyond `RLIMIT_FSIZE`.
pub(crate) fn check_file_size(len: usize) -> Result<()> {
    match limit(libc::RLIMIT_FSIZE as i32) {
        Some(limit) if limit < len as u64 => Err(Error::memory("ftruncate")(Errno::FBIG)),
        _ => Ok(()),
    }
}

/// Whether so much memory can still be had, as far as that can be known.
///
/// Memory that is touched and can't be had is no error but a `SIGKILL`, for this process or
/// another one. What this lets pass may still end so: others take memory at the same time.
///
/// # Errors
/// [`Error::ResourceExhausted`] where the machine or a control group has less.
pub(crate) fn check_memory(len: usize) -> Result<()> {
    // Relaxed: a figure of this process's, nothing hangs on its order.
    let unseen = UNSEEN.fetch_add(len, Ordering::Relaxed);
    if unseen.saturating_add(len) < SMALL {
        return Ok(());
    }
    UNSEEN.store(0, Ordering::Relaxed);
    look(len, |room| room.left)
}

/// The same for copies of what another process says, which may be as long as it likes: of short ones
/// there are few.
pub(crate) fn check_copies(len: usize) -> Result<()> {
    if len < SMALL {
        Ok(())
    } else {
        look(len, |room| room.left)
    }
}

/// The same for memory that others ask this process to make: a sixteenth of all there is stays for
/// who else lives there.
pub(crate) fn check_memory_for_others(len: usize) -> Result<()> {
    look(len, |room| room.left.saturating_sub(room.all / RESERVE))
}

/// What a machine or a control group has for its processes.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    /// Bytes in all.
    all: u64,
    /// Bytes that it can give without taking them from other processes.
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

/// Whether the process can keep one more descriptor that it could do without, beside `kept` others:
/// these are at most a quarter of all, and some are left besides.
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
    // They are given out from the lowest number up: as a rule the last are free where one of them is.
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

/// Bytes of swap that are free.
fn free_swap(figures: &str) -> u64 {
    entry(figures, "SwapFree:").unwrap_or(0) * 1024
}

/// The number that stands after a name at the start of a line.
fn entry(figures: &str, name: &str) -> Option<u64> {
    let mut lines = figures.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

/// What each control group of this process has, from its own to the root.
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
    /// Entries of `memory.stat`: what is given up when something else is wanted.
    reclaimable: [&'static str; 2],
}

const V1: Group = Group {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    // Of memory and swap together: it tells nothing that the others don't.
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
    /// The group that a line of `/proc/self/cgroup` names, and the directories where its limits
    /// and those of the groups above it stand.
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

    /// `None` where it has no limit, or can't be seen from here.
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
