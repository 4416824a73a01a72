//! Processes as `/proc` shows them, and whether `strace` can be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::wait::comes_true;

/// The descriptors of a process, and the files that they refer to.
pub fn fds(pid: u32) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of the process");
    let mut fds: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // A descriptor that was closed meanwhile cannot be read.
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    fds.sort();
    fds
}

/// The number of descriptors of a process.
pub fn fd_count(pid: u32) -> usize {
    fds(pid).len()
}

/// The number of sockets among its descriptors.
pub fn socket_count(pid: u32) -> usize {
    let is_socket = |name: &PathBuf| name.to_string_lossy().starts_with("socket:");
    fds(pid).iter().filter(|(_, name)| is_socket(name)).count()
}

/// Waits until a process has at most `count` descriptors. Some are closed by threads of their own,
/// so the process may have had more for a moment.
///
/// # Panics
/// If that does not happen.
pub fn until_fd_count(pid: u32, count: usize) {
    let met = comes_true(|| fd_count(pid) <= count);
    assert!(met, "{count} descriptors expected in {:#?}", fds(pid));
}

/// A mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Start address.
    pub start: usize,
    /// Size in bytes.
    pub len: usize,
    /// `r--s` for read-only shared memory.
    pub access: String,
    /// The offset in the mapped file at which the mapping starts.
    pub offset: u64,
    /// The inode of the mapped file; 0 for memory without a file.
    pub inode: u64,
    /// The name of the mapped file.
    pub name: String,
}

/// The mappings of a process whose names contain `name`: `xmem-payload`, for example.
pub fn maps(pid: u32, name: &str) -> Vec<Map> {
    let maps =
        fs::read_to_string(format!("/proc/{pid}/maps")).expect("the mappings of the process");
    let parse = |line: &str| {
        let mut parts = line.split_whitespace();
        let (start, end) = parts.next()?.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        Some(Map {
            start,
            len: end - start,
            access: parts.next()?.to_owned(),
            offset: u64::from_str_radix(parts.next()?, 16).ok()?,
            // The field after the device.
            inode: parts.nth(1)?.parse().ok()?,
            name: parts.collect::<Vec<_>>().join(" "),
        })
    };
    maps.lines()
        .filter_map(parse)
        .filter(|map| map.name.contains(name))
        .collect()
}

/// The resources of an idle process: the number of descriptors, mappings of xmem, and threads.
pub fn belongings(pid: u32) -> (usize, usize, usize) {
    let mappings = maps(pid, "xmem-").len();
    (fd_count(pid), mappings, thread_states(pid).len())
}

/// The memory that a process uses, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Its own memory: heap and stacks.
    pub own: u64,
    /// Shared memory that it maps.
    pub shared: u64,
}

/// The memory that a process uses.
pub fn memory(pid: u32) -> Memory {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).expect("the status of the process");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect(name)
    };
    Memory {
        own: kib("RssAnon:"),
        shared: kib("RssShmem:"),
    }
}

/// The state of a process: `R`unning, `S`leeping, s`T`opped, `Z`ombie; `None` if it does not exist.
pub fn state(pid: u32) -> Option<char> {
    state_in(&format!("/proc/{pid}/stat"))
}

/// The states of the threads of a process.
pub fn thread_states(pid: u32) -> Vec<char> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let state = |task: fs::DirEntry| state_in(&task.path().join("stat").to_string_lossy());
    tasks.flatten().filter_map(state).collect()
}

fn state_in(path: &str) -> Option<char> {
    let stat = fs::read_to_string(path).ok()?;
    // The state follows the name in parentheses, which may contain any character.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

/// The threads of a process: name, state, where in the kernel each waits, and the number of its
/// system call (202: one futex; 449: several, as only xmem waits). For the message of a failed test.
pub fn describe(pid: u32) -> Vec<String> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return vec![format!("process {pid} does not exist")];
    };
    let describe = |task: fs::DirEntry| {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let state = state_in(&task.path().join("stat").to_string_lossy());
        let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
        let call = call.split_whitespace().next().unwrap_or("-");
        let (name, state) = (name.trim_end(), state.unwrap_or('?'));
        format!("{name} {state} {place} {call}")
    };
    tasks.flatten().map(describe).collect()
}

/// The time slices of the threads of a process, in nanoseconds; empty if the kernel does not report
/// them.
pub fn time_slices(pid: u32) -> Vec<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
    let slice = |task: fs::DirEntry| {
        let figures = fs::read_to_string(task.path().join("sched")).ok()?;
        let line = figures.lines().find(|line| line.starts_with("se.slice"))?;
        line.split_once(':')?.1.trim().parse().ok()
    };
    tasks.flatten().filter_map(slice).collect()
}

/// Waits until a process has no connection and no watch on a directory any more, and until the
/// threads that xmem-core starts have ended. A thread has the name of its creator until it sets its
/// own, so threads with the name of the main thread count too.
///
/// # Panics
/// If that does not happen.
pub fn until_closed(pid: u32) {
    /// SOCK_SEQPACKET: sockets of xmem, but not the sockets of GStreamer itself.
    const KIND: &str = "0005";
    const CORE_THREADS: [&str; 3] = ["xmem-control", "xmem-prefault", "xmem-close"];
    let is_open = || {
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/unix")).expect("sockets");
        let connections = sockets.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(4);
            (words.next() == Some(KIND)).then(|| words.nth(1)).flatten()
        });
        let connections: Vec<_> = connections
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        fds(pid).iter().any(|(_, what)| {
            let what = what.to_string_lossy();
            what.contains("inotify") || connections.iter().any(|one| *one == what)
        })
    };
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    let main = PathBuf::from(format!("/proc/{pid}/task/{pid}"));
    let has_ended = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
        let mut others = tasks
            .flatten()
            .map(|task| task.path())
            .filter(|task| *task != main);
        others.all(|task| {
            let (name, main) = (name(&task), name(&main));
            name != main && !CORE_THREADS.contains(&name.trim_end())
        })
    };
    assert!(
        comes_true(|| !is_open() && has_ended()),
        "a connection, a watch or a thread is left: {:#?}",
        describe(pid)
    );
}

/// Waits until the thread with this name sleeps. If it has reported that it is about to wait, it
/// then waits. Returns false if it does not fall asleep.
pub fn falls_asleep(pid: u32, thread: &str) -> bool {
    comes_true(|| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
        tasks.flatten().any(|task| {
            let task = task.path();
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            let stat = task.join("stat");
            name.trim_end() == thread && state_in(&stat.to_string_lossy()) == Some('S')
        })
    })
}

/// Waits until the thread with this name sleeps, as [`falls_asleep`] does.
///
/// # Panics
/// If it does not.
pub fn until_asleep(pid: u32, thread: &str) {
    assert!(
        falls_asleep(pid, thread),
        "thread {thread} of {pid} does not sleep"
    );
}

/// The number of voluntary context switches of the thread with this name.
///
/// # Panics
/// If there is no such thread.
pub fn sleeps(pid: u32, thread: &str) -> u64 {
    let status = of_thread(pid, thread, "status");
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let count = count.and_then(|count| count.trim().parse().ok());
    count.expect("a number of context switches")
}

/// The number of page faults of a process so far.
///
/// # Panics
/// If the process does not exist.
pub fn page_faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    page_faults_in(&stat.expect("the process exists"))
}

/// The number of page faults of its thread with this name, including those of memory that it
/// prefaults as a whole.
///
/// # Panics
/// If there is no such thread.
pub fn page_faults_of(pid: u32, thread: &str) -> u64 {
    page_faults_in(&of_thread(pid, thread, "stat"))
}

fn page_faults_in(stat: &str) -> u64 {
    // The name in parentheses is followed by the state and six numbers, and then the minor faults.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("a number");
    number(7) + number(9)
}

/// How long a thread of a process has waited for a processor so far, while it was runnable.
pub fn waited_for_a_processor(pid: u32, thread: &str) -> Duration {
    let figures = of_thread(pid, thread, "schedstat");
    let ns = figures.split_whitespace().nth(1);
    let ns = ns.and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("times"))
}

/// The content of a file in `/proc` for the thread with this name.
fn of_thread(pid: u32, thread: &str, file: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
    let read = |task: &fs::DirEntry, file| fs::read_to_string(task.path().join(file)).ok();
    let is_it = |task: &fs::DirEntry| read(task, "comm").is_some_and(|name| name.trim() == thread);
    let task = tasks
        .flatten()
        .find(is_it)
        .expect("a thread with this name");
    read(&task, file).expect("its figures")
}

/// Whether `strace` is installed and may trace.
pub fn can_trace() -> bool {
    let status = Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .status();
    let can = status.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: strace is not installed, or not allowed");
    }
    can
}
