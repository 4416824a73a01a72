//! The control thread of a publisher: takes clients in, tells them what is new, notices when they
//! are gone. It polls, and never waits for one peer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::peer::telling::Snapshot;
use super::peer::{MAX_QUEUE, Peer, Stage};
use super::shedding::Shedding;
use super::unread::Unread;
use crate::callback;
use crate::channel::Listener;
use crate::error::{Error, Result};
use crate::message::MAX_MESSAGE;
use crate::pool::filling::Filling;
use crate::sys::clock::Deadline;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::writer::making::Making;
use crate::writer::{PublisherEvent, Writer};

mod admitting;
mod farewell;
mod hearing;

/// How long a new connection may take to say hello, and then to map its lease page.
const GREETING: Duration = Duration::from_secs(2);
/// Most connections that have not said hello, or were told goodbye; the oldest is closed for the next.
const MAX_STRANGERS: usize = 64;
/// How long no connection is accepted after the process had no descriptor left for one.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Another descriptor of the same open file.
fn duplicate(any: impl AsFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(any, 0).map_err(Error::socket("copying a descriptor"))
}

pub(super) struct Control {
    writer: Arc<Writer>,
    listener: Listener,
    /// Can only read; it is opened again for each client.
    metadata: OwnedFd,
    max_clients: u32,
    peers: Vec<Peer>,
    /// Slots for the clients there are, which are being made.
    filling: Option<Making>,
    shedding: Shedding,
    /// Connections with descriptors that their peers have yet to receive; each keeps a client's place.
    unread: Unread,
    /// Connections that were refused, whose peers have yet to read why.
    refused: Unread,
    next_client: u32,
    /// Until when nothing is accepted.
    accept_after: Option<Deadline>,
    /// A descriptor to accept a connection with when there are no others.
    reserve: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Control {
    pub(super) fn new(
        writer: Arc<Writer>,
        listener: Listener,
        metadata: OwnedFd,
        max_clients: u32,
    ) -> Result<Control> {
        Ok(Control {
            reserve: Some(duplicate(&writer.event_fd)?),
            writer,
            listener,
            metadata,
            max_clients,
            peers: Vec::new(),
            filling: None,
            shedding: Shedding::default(),
            unread: Unread::default(),
            refused: Unread::default(),
            next_client: 1,
            accept_after: None,
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    /// Runs until the channel is closed. Should it panic, the channel is closed with that.
    pub(super) fn run(mut self) {
        let writer = self.writer.clone();
        let fail = |reason| writer.fail(reason);
        callback::call("the control thread", || self.serve()).unwrap_or_else(fail);
        callback::call("the control thread", || self.farewell()).unwrap_or_else(fail);
    }

    fn serve(&mut self) {
        while !self.writer.is_closed() {
            if self.turn().is_err() {
                // `poll` itself has failed, for want of memory, or because the limit of descriptors
                // was lowered below what there are. The frames go on without this thread.
                self.writer.wait_for_event(OUT_OF_DESCRIPTORS);
            }
        }
    }

    /// Waits for something to happen, and sees to it.
    fn turn(&mut self) -> Result<()> {
        self.accept_after = self.accept_after.filter(|after| !after.has_passed());
        if self.reserve.is_none() {
            self.reserve = duplicate(&self.writer.event_fd).ok();
        }
        let mut deadline = self.accept_after.unwrap_or(Deadline::after(None));
        for until in [self.unread.look(), self.refused.look()]
            .into_iter()
            .flatten()
        {
            deadline = deadline.min(until);
        }
        let mut fds = vec![PollFd::new(&self.writer.event_fd, PollFlags::IN)];
        let accepting = match self.accept_after {
            None => PollFlags::IN,
            Some(_) => PollFlags::empty(),
        };
        fds.push(PollFd::new(&self.listener, accepting));
        for peer in &self.peers {
            for until in [peer.stuck(), peer.silenced()].into_iter().flatten() {
                deadline = deadline.min(until);
            }
            fds.push(PollFd::new(&peer.socket, peer.awaited_events()));
            // Where there is no pidfd, the socket stands in its place.
            match &peer.pidfd {
                Some(pidfd) => fds.push(PollFd::new(pidfd, PollFlags::IN)),
                None => fds.push(PollFd::new(&peer.socket, PollFlags::empty())),
            }
            if let Some(until) = peer.deadline() {
                deadline = deadline.min(until);
            }
        }
        if self.filling.is_some() || self.joining().next().is_some() {
            deadline = Deadline::after(Some(Duration::ZERO));
        }
        match self.writer.with_pool(|pool| pool.filling) {
            Filling::Done => {}
            Filling::Due => deadline = Deadline::after(Some(Duration::ZERO)),
            Filling::After(time) => deadline = deadline.min(time),
        }
        deadline = deadline.min(self.shedding.next());
        poll(&mut fds, deadline)?;
        let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents()).collect();
        drop(fds);

        self.writer.event_fd.clear();
        let old = self.peers.len();
        if events[1].contains(PollFlags::IN) {
            self.accept();
        }
        let mut ended = vec![false; self.peers.len()];
        // Clients that are gone leave the scan before a new one enters it: their places and slots
        // are for the others.
        for number in 0..old {
            let (socket, process) = (events[2 + 2 * number], events[3 + 2 * number]);
            ended[number] = process.contains(PollFlags::IN)
                || socket.intersects(PollFlags::HUP | PollFlags::ERR);
            if ended[number]
                && let Some(id) = self.peers[number].client()
            {
                self.writer.remove_client(id);
            }
        }
        for number in 0..old {
            // A peer that is late may have spoken since we looked.
            let overdue = self.peers[number].is_overdue();
            if !ended[number] && (overdue || events[2 + 2 * number].contains(PollFlags::IN)) {
                ended[number] = !self.attend(number) || self.peers[number].is_overdue();
            }
        }
        self.fill();
        self.admit();
        self.update(&mut ended);
        self.remove(&ended);
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(fd) => {
                    let until = Deadline::after(Some(GREETING));
                    self.peers.push(Peer::new(fd, until));
                }
                // With this one it can be told why it is not taken.
                Err(Errno::MFILE | Errno::NFILE) if self.reserve.take().is_some() => continue,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // No descriptors, no memory, or a sandbox that has begun to refuse it. The
                // connection is there the next time, too.
                Err(_) => {
                    self.accept_after = Some(Deadline::after(Some(OUT_OF_DESCRIPTORS)));
                    return;
                }
            }
            if self.strangers() > MAX_STRANGERS {
                // The others of this turn come first, so the events still belong to the peers.
                return;
            }
        }
    }

    /// Tells every client what is new, and sends what can be sent.
    fn update(&mut self, ended: &mut [bool]) {
        let (snapshot, unwanted) = self.writer.with_pool(|pool| {
            let snapshot = Snapshot::of(pool, &self.peers);
            (snapshot, std::mem::take(&mut pool.unwanted))
        });
        for (id, why) in unwanted {
            let peer = |peer: &Peer| matches!(peer.stage, Stage::Client(client) if client == id);
            if let Some(number) = self.peers.iter().position(peer) {
                self.refuse(number, why);
            }
        }
        for (number, ended) in ended.iter_mut().enumerate().filter(|(_, ended)| !**ended) {
            let peer = &mut self.peers[number];
            let is_client = matches!(peer.stage, Stage::Client(_));
            // As long as the socket takes it.
            loop {
                let told = !is_client || peer.update(&snapshot, MAX_QUEUE);
                *ended = peer.flush().is_err();
                if told || *ended || peer.is_waiting() {
                    break;
                }
            }
            *ended |= peer.is_done();
        }
        self.writer.note_told(snapshot.segments());
    }

    fn strangers(&self) -> usize {
        self.peers.iter().filter(|peer| peer.is_stranger()).count()
    }

    fn remove(&mut self, ended: &[bool]) {
        let mut too_many = self.strangers().saturating_sub(MAX_STRANGERS);
        let mut ended = ended.iter();
        let mut left = Vec::new();
        let is_over = |peer: &mut Peer| {
            let mut is_over = ended.next() == Some(&true);
            if peer.is_stranger() && too_many > 0 {
                too_many -= 1;
                is_over = true;
            }
            is_over
        };
        for peer in self.peers.extract_if(.., is_over) {
            left.extend(peer.client());
            if peer.has_descriptors {
                self.unread.add(peer.socket)
            } else {
                self.refused.add(peer.socket)
            }
        }
        if left.is_empty() {
            return;
        }
        for id in left {
            self.writer.remove_client(id);
            self.writer.tell(PublisherEvent::ClientDisconnected(id));
        }
        // What only they held goes back at once: there may be no next frame that would look.
        self.writer.collect();
    }
}
