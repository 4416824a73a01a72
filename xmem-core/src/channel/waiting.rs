//! A client's wait for a producer that may come later.

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::address::Channel;
use super::found::Found;
use super::nearest::Nearest;
use super::paths::{BELOW_A_FILE, OTHER_PROGRAM, bad_path};
use crate::cancel::Cancellation;
use crate::error::{Error, Resource, Result};
use crate::sys::clock::Deadline;
use crate::sys::socket::Connection;
use crate::sys::watch::Watch;
use crate::sys::{closer, pidfd};

/// How long one `connect` waits in the kernel for room in the backlog before it looks whether it
/// was cancelled. The kernel ends the wait as soon as there is room.
const CONNECT_SLICE: Duration = Duration::from_millis(50);

/// The time between two checks whether closed connections have been released.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the channel's producer, waiting for one to appear until the deadline.
///
/// # Errors
/// [`Error::NoProducer`] or [`Error::NoAnswer`] at the deadline, [`Error::Cancelled`] when
/// cancelled.
pub(crate) fn connect(
    channel: &Channel,
    deadline: Deadline,
    cancel: &Cancellation<'_>,
) -> Result<Connection> {
    let path = channel.prepare()?;
    let mut watching: Option<Nearest> = None;
    loop {
        if closer::is_full() {
            cancel.pause(
                deadline
                    .left()
                    .map_or(FULL_PAUSE, |left| left.min(FULL_PAUSE)),
            )?;
            if closer::is_full() && deadline.has_passed() {
                let what = format!("connecting to {}", path.display());
                let answer = Errno::BUSY.into();
                return Err(Error::exhausted(what, Resource::Closing, answer));
            }
            continue;
        }
        let attempt = attempt(&path, deadline)?;
        if let Attempt::Connected(socket) = attempt {
            return Ok(socket);
        }
        // After each attempt, whatever its result, so that frequent changes cannot prevent it.
        cancel.check()?;
        if deadline.has_passed() {
            return Err(match attempt {
                Attempt::Full => no_answer(&path),
                _ => no_producer(&path),
            });
        }
        if let Attempt::Full = attempt {
            continue;
        }
        // The watch is set before the deciding attempt, so a socket that appears in between is
        // noticed.
        match &watching {
            Some(watching) if watching.is_current(&path) => {
                let event_fd = cancel.event_fd()?;
                watching.watch.wait(Some(&event_fd), deadline)?;
            }
            _ => {
                let go_on = || is_over(&path, deadline, cancel);
                watching = Some(Nearest::new(&path, Watch::new, go_on)?);
            }
        }
    }
}

/// The result of one attempt to connect.
enum Attempt {
    Connected(Connection),
    /// A process listens, and its backlog stayed full.
    Full,
    /// There is no producer now.
    Absent,
}

fn attempt(path: &Path, deadline: Deadline) -> Result<Attempt> {
    let found = match Found::at(path) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Attempt::Absent),
        Err(Errno::NOTDIR) => return Err(bad_path(path, BELOW_A_FILE)),
        Err(Errno::ACCESS) => {
            return Err(bad_path(
                path,
                "permission denied: every directory above it must let this user pass (chmod o+x)",
            ));
        }
        Err(errno) => return Err(Error::path(path, "looking for its socket")(errno)),
    };
    if let Some(reason) = found.is_no_socket() {
        return Err(bad_path(path, reason));
    }
    let timeout = deadline
        .left()
        .map_or(CONNECT_SLICE, |left| left.min(CONNECT_SLICE));
    match found.connect(timeout) {
        // The owner is dead, but a child process of it still has the listening socket.
        Ok(socket) if pidfd::peer_has_exited(&socket)? => Ok(Attempt::Absent),
        Ok(socket) => Ok(Attempt::Connected(socket)),
        Err(Errno::AGAIN) => Ok(Attempt::Full),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Attempt::Absent),
        // The producer is about to set the final permissions.
        Err(Errno::ACCESS) if found.is_unfinished() => Ok(Attempt::Absent),
        Err(Errno::ACCESS) => Err(bad_path(
            path,
            "permission denied: set perms of the producer so that this user may connect",
        )),
        Err(Errno::PROTOTYPE) => Err(bad_path(path, OTHER_PROGRAM)),
        Err(errno) => {
            let what = format!("connecting to {}", path.display());
            Err(Error::socket(what)(errno))
        }
    }
}

/// The caller, which has set the deadline, sets the time that was waited.
fn no_producer(path: &Path) -> Error {
    Error::NoProducer {
        path: path.into(),
        waited: Duration::MAX,
    }
}

fn no_answer(path: &Path) -> Error {
    Error::NoAnswer {
        path: path.into(),
        waited: Duration::MAX,
    }
}

/// Returns an error if the wait was cancelled, or the deadline has passed.
fn is_over(path: &Path, deadline: Deadline, cancel: &Cancellation<'_>) -> Result<()> {
    cancel.check()?;
    if deadline.has_passed() {
        Err(no_producer(path))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Canceller;
    use crate::channel::Listener;

    #[test]
    fn a_client_waits_for_a_producer_and_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/a.sock");
        let channel = Channel::path(&path);
        let canceller = Canceller::new();
        assert!(matches!(
            connect(
                &channel,
                Deadline::after(Some(Duration::from_millis(5))),
                &canceller.begin().unwrap()
            ),
            Err(Error::NoProducer { .. })
        ));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let cancellation = canceller.begin().unwrap();
                connect(&channel, Deadline::after(None), &cancellation)
            });
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            let _listener = Listener::new(&channel, 0o600, &canceller.begin().unwrap()).unwrap();
            client.join().unwrap().unwrap();
        });
        let cancellation = canceller.begin().unwrap();
        std::fs::remove_dir(path.parent().unwrap()).unwrap();
        canceller.cancel();
        // The wait ends as soon as it begins, although the canceller is reset by now.
        canceller.reset();
        assert!(matches!(
            connect(&channel, Deadline::after(None), &cancellation),
            Err(Error::Cancelled)
        ));
    }
}
