//! The control thread of a publisher: takes clients in, tells them what is new, notices when they
//! are gone. It polls, and never waits for one peer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::linger::{self, Holder};
use super::peer::{LEAVING, MAX_QUEUE, Newcomer, Peer, Snapshot, Stage};
use super::shedding::Shedding;
use super::unread::Unread;
use crate::callback;
use crate::channel::Listener;
use crate::clients::{Client, ClientId, Identity};
use crate::error::{Error, Refusal, Result};
use crate::event::EventKind;
use crate::message::{ByeReason, Hello, MAX_ANSWER, MAX_MESSAGE, Message, Welcome};
use crate::pool::filling::Filling;
use crate::segment::UnsealedPage;
use crate::sys::clock::{self, Deadline};
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::{memfd, pidfd, socket};
use crate::writer::admission::{Admission, Step};
use crate::writer::making::{Coming, Making};
use crate::writer::{PublisherEvent, Writer};

/// How long a new connection may take to say hello, and then to map its lease page.
const GREETING: Duration = Duration::from_secs(2);
/// How long the goodbyes of a channel that is closed may take.
const FAREWELL: Duration = Duration::from_millis(500);
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

    /// Reads a message. False when the connection has to be closed.
    fn attend(&mut self, at: usize) -> bool {
        if !self.peers[at].is_heard() {
            return true;
        }
        let received = match socket::receive(&self.peers[at].socket, &mut self.buffer) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        if received.len == 0 {
            return false;
        }
        let with_fds = received.lost_fds || !received.fds.is_empty();
        let message = if received.truncated || with_fds {
            Err(Error::Protocol(
                "a message with descriptors, or too long".into(),
            ))
        } else {
            Message::decode(&self.buffer[..received.len])
        };
        match (&self.peers[at].stage, message) {
            (Stage::Greeting(_), Ok(Message::Hello(hello))) => {
                if let Err(error) = self.welcome(at, hello) {
                    self.turn_away(at, error);
                }
            }
            (Stage::Greeting(_), Ok(Message::Ask)) => self.answer(at),
            (Stage::Mapping(..), Ok(Message::Ready)) => {
                if let Err(error) = self.begin_admission(at) {
                    self.turn_away(at, error);
                } else {
                    self.go_on_admitting(at);
                }
            }
            (&Stage::Client(client), Ok(Message::Upstream { content })) => {
                let peer = &mut self.peers[at];
                peer.count_upstream();
                let uid = peer.credentials.uid;
                self.writer.tell(PublisherEvent::Upstream {
                    client,
                    uid,
                    content,
                });
            }
            (&Stage::Client(client), Ok(Message::Request { number, quota })) => {
                self.peers[at].count_upstream();
                let writer = &self.writer;
                writer.with_pool(|pool| pool.request(client, number, quota));
            }
            (_, Ok(_)) => {
                let text = "a message that a client can't send now";
                self.refuse(at, Refusal::violation(text));
            }
            (_, Err(error)) => self.refuse(at, Refusal::violation(error.to_string())),
        }
        true
    }

    /// Tells a peer why it is not taken as a client.
    fn turn_away(&mut self, number: usize, error: Error) {
        let refusal = match error {
            Error::Refused(refusal) => refusal,
            Error::Protocol(what) => Refusal::violation(what),
            Error::ResourceExhausted { what, resource, .. } => {
                Refusal::Exhausted { what, resource }
            }
            other => Refusal::Other {
                text: format!("it can't take another client: {other}"),
                retryable: other.is_retryable(),
            },
        };
        self.refuse(number, refusal);
    }

    /// Tells a peer that only asks what the format is.
    fn answer(&mut self, number: usize) {
        let is_too_many = self.refused.count() >= MAX_STRANGERS;
        let peer = &mut self.peers[number];
        if is_too_many {
            peer.hang_up();
            return;
        }
        let format = self
            .writer
            .with_pool(|pool| pool.current(EventKind::Format));
        let format = format.as_deref().unwrap_or_default();
        let answer = Message::Answer {
            length: format.len() as u32,
            format: (format.len() <= MAX_ANSWER).then(|| format.to_vec()),
        };
        peer.answer(&answer, Deadline::after(Some(LEAVING)));
    }

    /// Makes a client's lease page, and sends it.
    fn welcome(&mut self, number: usize, hello: Hello) -> Result<()> {
        let others = self.peers.iter().filter(|peer| peer.takes_place()).count();
        let there = self.writer.with_pool(|pool| pool.clients.len());
        let clients = there + others + self.unread.count();
        if clients >= self.max_clients as usize {
            return Err(Error::Refused(Refusal::TooManyClients {
                clients: clients as u32,
                max: self.max_clients,
            }));
        }
        let peer = &mut self.peers[number];
        peer.watch_process()?;
        let page = UnsealedPage::create(hello.leases)?;
        // Opened for each: a client can leave locks on an open file, for as long as that is open.
        let metadata = memfd::reopen_read_only(&self.metadata)?;
        let fds = vec![metadata, duplicate(page.fd())?];
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let message = Message::Welcome(Welcome {
            client: id.get(),
            leases: hello.leases,
            slots: self.writer.metadata.layout().slots,
            clock: clock::monotonic().as_nanos() as u64,
        });
        let newcomer = Newcomer {
            id,
            page,
            identity: Identity {
                name: hello.name,
                pid: peer.credentials.pid,
                uid: peer.credentials.uid,
                is_own_user: pidfd::is_own_user(peer.credentials.uid),
                delivery: hello.delivery,
                backlog: hello.backlog,
                takes_unsealed: hello.takes_unsealed,
            },
        };
        peer.welcome(&message, fds, Deadline::after(Some(GREETING)), newcomer);
        Ok(())
    }

    /// Begins to take a client in that has mapped its lease page.
    fn begin_admission(&mut self, number: usize) -> Result<()> {
        let peer = &mut self.peers[number];
        let Stage::Mapping(_, newcomer) = peer.take_stage() else {
            unreachable!("only a newcomer is admitted");
        };
        let Newcomer { id, page, identity } = newcomer;
        peer.takes_unsealed = identity.takes_unsealed;
        // From here on no process can make the writer's look at the page wait.
        let page = Arc::new(page.sealed()?);
        peer.stage = Stage::Joining(id, Admission::of(Client::new(id, page, identity)));
        Ok(())
    }

    /// Makes slots for the clients there are, which the writer has left to be made.
    fn fill(&mut self) {
        // Unmaps what no slot uses any more, whose memory may be all there is.
        let gone = self.writer.with_pool(|pool| std::mem::take(&mut pool.gone));
        self.shedding.shed(&self.writer, gone);
        let others = self.joining().filter_map(|(_, one)| one.making());
        let coming = Coming::of(others);
        self.filling = self.writer.fill(self.filling.take(), &coming);
    }

    /// Makes slots for one of those that join: where the least is left to be made, so that a client
    /// which needs few does not wait for those of another. Then tries again to admit those that wait for
    /// the slots of others.
    fn admit(&mut self) {
        let joining = self.joining();
        let begun = joining.filter_map(|(number, one)| Some((one.left()?, number)));
        if let Some((_, number)) = begun.min() {
            self.go_on_admitting(number);
        }
        let joining = self.joining();
        let waiting = joining.filter(|(_, one)| one.left().is_none());
        for number in waiting.map(|(number, _)| number).collect::<Vec<_>>() {
            self.go_on_admitting(number);
        }
    }

    /// Takes a step in admitting a client. Its slots exist before it does. It enters the scan before it
    /// is told so: no lease of its goes unseen.
    fn go_on_admitting(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        let Stage::Joining(id, admission) = peer.take_stage() else {
            unreachable!("the peer is joining");
        };
        // It is not among them now.
        let others = self.joining().filter_map(|(_, one)| one.making());
        let coming = Coming::of(others.chain(&self.filling));
        let peer = &mut self.peers[number];
        match self.writer.admit(admission, &coming) {
            Ok(Step::More(admission)) => peer.stage = Stage::Joining(id, admission),
            Ok(Step::Joined(start)) => {
                peer.join(id, &start);
                self.writer.tell(PublisherEvent::ClientConnected(id));
            }
            Err(error) => self.turn_away(number, error),
        }
    }

    /// Peers for which slots are being made, or will be.
    fn joining(&self) -> impl Iterator<Item = (usize, &Admission)> {
        let peers = self.peers.iter().enumerate();
        peers.filter_map(|(number, peer)| match &peer.stage {
            Stage::Joining(_, admission) => Some((number, admission)),
            _ => None,
        })
    }

    /// Says no, and why. A peer that is a client already stays in the scan until it hangs up: it
    /// may still hold frames.
    fn refuse(&mut self, number: usize, refusal: Refusal) {
        let peer = &mut self.peers[number];
        match peer.client() {
            Some(id) => {
                peer.evict(&refusal);
                self.writer.evict_client(id);
            }
            // What they don't read is memory that counts for this process.
            None if self.refused.count() >= MAX_STRANGERS => peer.hang_up(),
            None => {
                let reason = ByeReason::Refused(refusal.clone());
                peer.bye(reason, 0, Deadline::after(Some(LEAVING)));
            }
        }
        self.writer.tell(PublisherEvent::ClientRefused {
            pid: pidfd::known(self.peers[number].credentials.pid),
            reason: refusal,
        });
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

    /// Says goodbye to all peers. What a client has not made room for by the deadline is not sent: then
    /// the hang-up has to do.
    fn farewell(&mut self) {
        let held = self.writer.take_pinned_imports();
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
