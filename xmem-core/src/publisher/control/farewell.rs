//! The end of a channel: all peers are told goodbye.

use std::time::Duration;

use super::Control;
use crate::message::ByeReason;
use crate::publisher::linger::{self, Holder};
use crate::publisher::peer::Peer;
use crate::publisher::peer::telling::Snapshot;
use crate::sys::clock::Deadline;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::writer::PublisherEvent;

/// How long the goodbyes of a channel that is closed may take.
const FAREWELL: Duration = Duration::from_millis(500);

impl Control {
    /// Says goodbye to all peers. What a client has not made room for by the deadline is not sent: then
    /// the hang-up has to do.
    pub(super) fn farewell(&mut self) {
        let held = self.writer.take_pinned_ending();
        let mut pages = self.writer.pages();
        let (position, snapshot) = self
            .writer
            .with_pool(|pool| (pool.head(), Snapshot::of(pool, &self.peers)));
        let mut peers = std::mem::take(&mut self.peers);
        let mut clients = Vec::new();
        for peer in &mut peers {
            let client = peer.client();
            clients.push(client);
            let Some(id) = client else { continue };
            peer.update(&snapshot, usize::MAX);
            let reason = match self.writer.failure.reason() {
                Some(failure) => ByeReason::Failed(failure.into()),
                None => ByeReason::Stopped,
            };
            peer.bye(reason, position, Deadline::after(None));
            self.writer.remove_client(id);
            self.writer.tell(PublisherEvent::ClientDisconnected(id));
        }
        send_all(&mut peers, Deadline::after(Some(FAREWELL)));
        let holders = peers.into_iter().zip(clients).filter_map(|(peer, client)| {
            let page = pages.remove(&client?)?;
            Some(Holder {
                page,
                socket: peer.socket,
                pidfd: peer.pidfd,
            })
        });
        linger::keep(held, holders.collect());
    }
}

/// Sends what waits, as far as the peers read it until the deadline.
fn send_all(peers: &mut [Peer], deadline: Deadline) {
    for peer in peers.iter_mut() {
        let _ = peer.flush();
    }
    loop {
        // No event tells when the system has room for more descriptors.
        let can_wait = |peer: &&mut Peer| peer.is_waiting() && peer.stuck().is_none();
        let waiting: Vec<&mut Peer> = peers.iter_mut().filter(can_wait).collect();
        let sockets = waiting.iter().map(|peer| &peer.socket);
        let mut fds: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::OUT))
            .collect();
        if fds.is_empty() || deadline.has_passed() || poll(&mut fds, deadline).is_err() {
            return;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        for (peer, is_ready) in waiting.into_iter().zip(ready) {
            if is_ready && peer.flush().is_err() {
                peer.forget_messages();
            }
        }
    }
}
