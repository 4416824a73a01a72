//! How a peer becomes a client: its lease page, its slots, its place in the scan.

use std::sync::Arc;

use super::{Control, GREETING, duplicate};
use crate::clients::{Client, ClientId, Identity};
use crate::error::{Error, Refusal, Result};
use crate::message::{Hello, Message, Welcome};
use crate::publisher::peer::{Newcomer, Stage};
use crate::segment::UnsealedPage;
use crate::sys::clock::{self, Deadline};
use crate::sys::{memfd, pidfd};
use crate::writer::PublisherEvent;
use crate::writer::admission::{Admission, Step};
use crate::writer::making::Coming;

impl Control {
    /// Makes a client's lease page, and sends it.
    pub(super) fn welcome(&mut self, number: usize, hello: Hello) -> Result<()> {
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
                takes: hello.takes,
            },
        };
        peer.welcome(&message, fds, Deadline::after(Some(GREETING)), newcomer);
        Ok(())
    }

    /// Begins to take a client in that has mapped its lease page.
    pub(super) fn begin_admission(&mut self, number: usize) -> Result<()> {
        let peer = &mut self.peers[number];
        let Stage::Mapping(_, newcomer) = peer.take_stage() else {
            unreachable!("only a newcomer is admitted");
        };
        let Newcomer { id, page, identity } = newcomer;
        peer.takes = identity.takes;
        // From here on no process can make the writer's look at the page wait.
        let page = Arc::new(page.sealed()?);
        peer.stage = Stage::Joining(id, Admission::of(Client::new(id, page, identity)));
        Ok(())
    }

    /// Makes slots for the clients there are, which the writer has left to be made.
    pub(super) fn fill(&mut self) {
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
    pub(super) fn admit(&mut self) {
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
    pub(super) fn go_on_admitting(&mut self, number: usize) {
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
    pub(super) fn joining(&self) -> impl Iterator<Item = (usize, &Admission)> {
        let peers = self.peers.iter().enumerate();
        peers.filter_map(|(number, peer)| match &peer.stage {
            Stage::Joining(_, admission) => Some((number, admission)),
            _ => None,
        })
    }
}
