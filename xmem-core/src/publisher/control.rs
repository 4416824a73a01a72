//! The control thread of a publisher: takes clients in, tells them what is new, notices when they
//! are gone. It polls, and never waits for anybody in particular.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::peer::{Peer, Stage};
use crate::channel::Listener;
use crate::error::{Error, Result};
use crate::message::{ByeReason, Hello, MAX_MESSAGE, Message, Welcome};
use crate::pool::{Client, ClientId};
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::socket;
use crate::writer::{PublisherEvent, Writer};

/// How long a new connection may take to say hello.
const GREETING: Duration = Duration::from_secs(2);
/// How long a goodbye may take to be sent.
const LEAVING: Duration = Duration::from_secs(1);
/// Most connections that have not said hello; the oldest is closed for the next.
const MAX_GREETING: usize = 64;
/// How long no connection is accepted after the process had no descriptor left for one.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

pub(super) struct Control {
    writer: Arc<Writer>,
    listener: Listener,
    /// Can only read; a copy goes to each client.
    metadata: OwnedFd,
    max_clients: u32,
    peers: Vec<Peer>,
    next_client: u32,
    /// Until when nothing is accepted.
    accept_after: Option<Deadline>,
    buffer: Vec<u8>,
}

impl Control {
    pub(super) fn new(
        writer: Arc<Writer>,
        listener: Listener,
        metadata: OwnedFd,
        max_clients: u32,
    ) -> Control {
        Control {
            writer,
            listener,
            metadata,
            max_clients,
            peers: Vec::new(),
            next_client: 1,
            accept_after: None,
            buffer: vec![0; MAX_MESSAGE],
        }
    }

    pub(super) fn run(mut self) {
        while !self.writer.is_closed() {
            if self.turn().is_err() {
                // `poll` itself has failed, for want of memory: nobody can be served.
                self.writer.close();
            }
        }
        self.farewell();
    }

    /// Waits for something to happen, and sees to it.
    fn turn(&mut self) -> Result<()> {
        self.accept_after = self.accept_after.filter(|after| !after.has_passed());
        let mut deadline = self.accept_after.unwrap_or(Deadline::after(None));
        let mut fds = vec![PollFd::new(&self.writer.bell, PollFlags::IN)];
        let accepting = match self.accept_after {
            None => PollFlags::IN,
            Some(_) => PollFlags::empty(),
        };
        fds.push(PollFd::new(&self.listener, accepting));
        for peer in &self.peers {
            let mut events = PollFlags::IN;
            if peer.has_queue() {
                events |= PollFlags::OUT;
            }
            fds.push(PollFd::new(&peer.socket, events));
            // Where there is no pidfd, the socket stands in its place.
            match &peer.pidfd {
                Some(pidfd) => fds.push(PollFd::new(pidfd, PollFlags::IN)),
                None => fds.push(PollFd::new(&peer.socket, PollFlags::empty())),
            }
            if let Stage::Greeting(until) | Stage::Leaving(until) = peer.stage {
                deadline = deadline.min(until);
            }
        }
        poll(&mut fds, deadline)?;
        let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents()).collect();
        drop(fds);

        self.writer.bell.silence();
        let old = self.peers.len();
        if events[1].contains(PollFlags::IN) {
            self.accept();
        }
        // Those whose process has exited leave the scan before anybody new enters it.
        let mut ended = vec![None; self.peers.len()];
        for number in 0..old {
            let (socket, process) = (events[2 + 2 * number], events[3 + 2 * number]);
            ended[number] = self.attend(number, socket, process).err();
        }
        self.update(&mut ended);
        self.remove(ended);
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            match socket::accept(&self.listener) {
                Ok(fd) => {
                    let until = Deadline::after(Some(GREETING));
                    self.peers.push(Peer::new(fd, until));
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    self.accept_after = Some(Deadline::after(Some(OUT_OF_DESCRIPTORS)));
                    return;
                }
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => return,
            }
            let greeting = |peer: &Peer| matches!(peer.stage, Stage::Greeting(_));
            if self.peers.iter().filter(|peer| greeting(peer)).count() > MAX_GREETING {
                // The others of this turn come first, so the events still belong to the peers.
                return;
            }
        }
    }

    /// Sees to one connection. An error is the reason to close it.
    fn attend(&mut self, number: usize, socket: PollFlags, process: PollFlags) -> Ended<()> {
        if process.contains(PollFlags::IN) {
            return Err("its process has exited".into());
        }
        if socket.contains(PollFlags::IN) {
            let received = match socket::receive(&self.peers[number].socket, &mut self.buffer) {
                Ok(received) => received,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(errno) => return Err(errno.kind().to_string()),
            };
            if received.len == 0 {
                return Err("it has closed the connection".into());
            }
            let message = if received.truncated || !received.fds.is_empty() {
                Err(Error::Protocol(
                    "a message with descriptors, or too long".into(),
                ))
            } else {
                Message::decode(&self.buffer[..received.len])
            };
            match (&self.peers[number].stage, message) {
                (Stage::Greeting(_), Ok(Message::Hello(hello))) => self.greet(number, hello),
                (Stage::Leaving(_), _) => {}
                (_, Ok(_)) => self.refuse(
                    number,
                    ByeReason::Refused,
                    "a message that a client can't send now",
                ),
                (_, Err(error)) => self.refuse(number, ByeReason::Refused, &error.to_string()),
            }
        } else if socket.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err("it has closed the connection".into());
        }
        Ok(())
    }

    /// Takes a client in, or tells it why not.
    fn greet(&mut self, number: usize, hello: Hello) {
        match self.admit(number, hello) {
            Ok(id) => self.writer.tell(PublisherEvent::ClientConnected(id)),
            Err(error) => {
                let full = error.is_retryable() || matches!(error, Error::SharedMemory { .. });
                let reason = match full {
                    true => ByeReason::Full,
                    false => ByeReason::Refused,
                };
                let text = match error {
                    Error::Refused { reason, .. } => reason,
                    other => other.to_string(),
                };
                self.refuse(number, reason, &text);
            }
        }
    }

    fn admit(&mut self, number: usize, hello: Hello) -> Result<ClientId> {
        let clients = self.writer.pool().clients.len();
        if clients >= self.max_clients as usize {
            return Err(Error::Refused {
                reason: format!(
                    "there are {clients} clients already: raise max-clients of the producer"
                ),
                retryable: true,
            });
        }
        // The client's slots exist before it does.
        self.writer.fill(hello.leases)?;
        let (page, page_fd) = LeasePage::create(hello.leases)?;
        let metadata = rustix::io::fcntl_dupfd_cloexec(&self.metadata, 0)
            .map_err(Error::socket("copying a descriptor"))?;
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let peer = &mut self.peers[number];
        let client = Client::new(
            id,
            Arc::new(page),
            hello.delivery,
            hello.name,
            (peer.credentials.pid, peer.credentials.uid),
        );
        // It enters the scan before the welcome is sent: no lease of its goes unseen.
        let position = self.writer.add_client(client);
        let welcome = Message::Welcome(Welcome {
            client: id.get(),
            leases: hello.leases,
            slots: self.writer.metadata.layout().slots,
            position,
        });
        peer.welcome(&welcome, vec![metadata, page_fd]);
        peer.stage = Stage::Client(id);
        Ok(id)
    }

    fn refuse(&mut self, number: usize, reason: ByeReason, text: &str) {
        let peer = &mut self.peers[number];
        let was = peer.client();
        let pid = peer.credentials.pid;
        peer.bye(reason, 0, text, Deadline::after(Some(LEAVING)));
        if let Some(id) = was {
            self.writer.remove_client(id);
            self.writer.tell(PublisherEvent::ClientDisconnected(id));
        }
        self.writer.tell(PublisherEvent::ClientRefused {
            pid,
            reason: text.into(),
        });
    }

    /// Tells every client what is new, and sends what can be sent.
    fn update(&mut self, ended: &mut [Option<String>]) {
        let gone = {
            let mut pool = self.writer.pool();
            for (peer, ended) in self.peers.iter_mut().zip(ended.iter_mut()) {
                if peer.client().is_some()
                    && ended.is_none()
                    && let Err(error) = peer.update(&pool)
                {
                    *ended = Some(error.to_string());
                }
            }
            std::mem::take(&mut pool.gone)
        };
        // Unmaps what no slot uses any more.
        drop(gone);
        for (peer, ended) in self.peers.iter_mut().zip(ended.iter_mut()) {
            if ended.is_some() {
                continue;
            }
            *ended = match (peer.flush(), &peer.stage) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(()), Stage::Leaving(_)) if !peer.has_queue() => Some("it was refused".into()),
                (Ok(()), Stage::Greeting(until) | Stage::Leaving(until)) if until.has_passed() => {
                    Some("it said nothing".into())
                }
                _ => None,
            };
        }
    }

    fn remove(&mut self, ended: Vec<Option<String>>) {
        let greeting = |peer: &Peer| matches!(peer.stage, Stage::Greeting(_));
        let mut too_many = self
            .peers
            .iter()
            .filter(|peer| greeting(peer))
            .count()
            .saturating_sub(MAX_GREETING);
        let mut ended = ended.into_iter();
        let mut left = Vec::new();
        self.peers.retain_mut(|peer| {
            let mut close = ended.next().flatten().is_some();
            if greeting(peer) && too_many > 0 {
                too_many -= 1;
                close = true;
            }
            if close && let Some(id) = peer.client() {
                left.push(id);
            }
            !close
        });
        for id in left {
            self.writer.remove_client(id);
            self.writer.tell(PublisherEvent::ClientDisconnected(id));
        }
    }

    /// Says goodbye to everybody. What a socket does not take at once is not sent: then the
    /// hang-up has to do.
    fn farewell(&mut self) {
        let position = self.writer.pool().head();
        for peer in &mut self.peers {
            if let Some(id) = peer.client() {
                let _ = peer.update(&self.writer.pool());
                let text = "the producer stops";
                peer.bye(ByeReason::Stopped, position, text, Deadline::after(None));
                self.writer.remove_client(id);
                self.writer.tell(PublisherEvent::ClientDisconnected(id));
            }
            let _ = peer.flush();
        }
    }
}

type Ended<T> = std::result::Result<T, String>;
