//! After the end of a channel: imported memory stays as it is while clients hold frames in it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::FrameId;
use crate::pool::KeepAlive;
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::socket::{self, Connection};

/// How long until the next look after `poll` itself has failed.
const POLL_FAILED: Duration = Duration::from_millis(100);

/// A client that was told goodbye, and may hold frames.
pub(super) struct Holder {
    pub(super) page: Arc<LeasePage>,
    pub(super) socket: Connection,
    pub(super) pidfd: Option<OwnedFd>,
}

/// Keeps frames until the clients that hold them have hung up, as they do after the last one, or are
/// gone.
pub(super) fn keep(held: Vec<(FrameId, KeepAlive)>, holders: Vec<Holder>) {
    if held.is_empty() {
        return;
    }
    for holder in &holders {
        // A client that got no Bye, for want of room, is told by this.
        let _ = socket::shut_down_sending(&holder.socket);
    }
    let thread = std::thread::Builder::new().name("xmem-linger".into());
    // Where there is no thread to be had, the frames are given back at once.
    let _ = thread.spawn(move || linger(held, holders));
}

fn linger(mut held: Vec<(FrameId, KeepAlive)>, mut holders: Vec<Holder>) {
    loop {
        let is_held = |frame: FrameId| holders.iter().any(|one| one.page.words().holds(frame));
        held.retain(|(frame, _)| is_held(*frame));
        if held.is_empty() {
            return;
        }
        let mut fds = Vec::new();
        for holder in &holders {
            fds.push(PollFd::new(&holder.socket, PollFlags::empty()));
            match &holder.pidfd {
                Some(pidfd) => fds.push(PollFd::new(pidfd, PollFlags::IN)),
                None => fds.push(PollFd::new(&holder.socket, PollFlags::empty())),
            }
        }
        if poll(&mut fds, Deadline::after(None)).is_err() {
            // For want of memory, say. The bytes stay until it is known which clients have gone.
            drop(fds);
            std::thread::sleep(POLL_FAILED);
            continue;
        }
        let ended: Vec<bool> = fds
            .chunks(2)
            .map(|pair| pair.iter().any(|fd| !fd.revents().is_empty()))
            .collect();
        drop(fds);
        let mut ended = ended.into_iter();
        holders.retain(|_| ended.next() != Some(true));
    }
}
