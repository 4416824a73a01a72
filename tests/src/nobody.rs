//! Becoming another user, if this process is root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::place::Place;

/// The user "nobody", without rights. In a user namespace this number stands for every user that
/// the namespace does not map.
pub const NOBODY: u32 = 65534;

/// Changes the user of this thread, and of threads that it starts, if this process is root.
///
/// # Panics
/// If root may not do that.
pub fn become_user(uid: u32) {
    if geteuid().is_root() {
        set_thread_groups(&[]).expect("root may");
        set_thread_gid(Gid::from_raw(uid)).expect("root may");
        set_thread_uid(Uid::from_raw(uid)).expect("root may");
    }
}

/// Runs `work` as another user, in a thread of its own. `None` if this process cannot become
/// another user.
///
/// # Panics
/// If `work` panics.
pub fn run_as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    if !is_possible() {
        return None;
    }
    let work = || {
        become_user(NOBODY);
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    Some(done.expect("the thread does not panic"))
}

/// Whether this process can become another user.
pub fn is_possible() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("not tried: only root can become another user");
    }
    is_root
}

/// Returns the command, run as the user "nobody". Gives that user the directory of `place`. `None` if
/// this process cannot start the program as that user.
pub fn running(mut command: Command, place: &Place) -> Option<Command> {
    let mut probe = Command::new("test");
    probe.arg("-x").arg(command.get_program());
    let may = probe.uid(NOBODY).gid(NOBODY).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not tried: no other user can start a peer here");
        return None;
    }
    chown(place.path(), Some(NOBODY), Some(NOBODY))
        .expect("a process that can become another user may change the owner");
    command.uid(NOBODY).gid(NOBODY);
    Some(command)
}
