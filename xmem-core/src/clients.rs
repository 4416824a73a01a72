//! Floor 3: the clients that are in the scan, and what the writer believes of their lease pages.

use std::sync::Arc;

use crate::lease::{FrameId, Page};
use crate::message::Delivery;
use crate::segment::LeasePage;

/// The number of a client; never used twice in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(crate) u32);

impl ClientId {
    /// The number, counted from 1.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A client that is in the scan.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) page: Arc<LeasePage>,
    pub(crate) delivery: Delivery,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// The furthest that its cursor was seen: what it writes is not believed to go back, or ahead
    /// of the stream.
    passed: u64,
    /// It has made the writer wait too long: until it has caught up, nobody waits for it.
    pub(crate) lapsed: bool,
    /// It has broken the protocol: nobody waits for it any more. What it holds stays its own until
    /// it hangs up.
    pub(crate) expelled: bool,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        page: Arc<LeasePage>,
        delivery: Delivery,
        name: String,
        (pid, uid): (u32, u32),
    ) -> Client {
        Client {
            id,
            page,
            delivery,
            name,
            pid,
            uid,
            passed: 0,
            lapsed: false,
            expelled: false,
        }
    }

    fn refresh(&mut self, head: u64) {
        self.passed = self.passed.max(self.page.page().position().min(head));
    }

    /// Whether the writer waits for this client where it waits at all.
    fn is_waited_for(&self) -> bool {
        self.delivery == Delivery::InOrder && !self.lapsed && !self.expelled
    }
}

/// The clients, and their leases as of the last scan.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    list: Vec<Client>,
    /// Reused by every scan.
    leased: Vec<FrameId>,
}

impl Clients {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.list.iter()
    }

    pub(crate) fn pages(&self) -> impl Iterator<Item = Page<'_>> {
        self.list.iter().map(|client| client.page.page())
    }

    /// The leases of all clients together.
    pub(crate) fn leases(&self) -> u32 {
        self.list.iter().map(|client| client.page.leases()).sum()
    }

    /// Takes a client in, who receives the frame at `position` first.
    pub(crate) fn add(&mut self, mut client: Client, position: u64) {
        client.page.page().pass(position);
        client.passed = position;
        self.list.push(client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) {
        self.list.retain(|client| client.id != id);
    }

    pub(crate) fn expel(&mut self, id: ClientId) {
        for client in self.list.iter_mut().filter(|client| client.id == id) {
            client.expelled = true;
        }
    }

    /// Reads every client's leases.
    pub(crate) fn scan(&mut self) {
        self.leased.clear();
        for client in &self.list {
            client.page.page().collect(&mut self.leased);
        }
    }

    /// How many leases named the frame at the last scan.
    pub(crate) fn holders(&self, frame: FrameId) -> usize {
        self.leased
            .iter()
            .filter(|&&leased| leased == frame)
            .count()
    }

    /// Whether a lease names the frame now.
    pub(crate) fn hold(&self, frame: FrameId) -> bool {
        self.pages().any(|page| page.holds(frame))
    }

    /// The first position that a client may still come to; `head` without clients. Who wants only
    /// the newest frame comes to no other.
    pub(crate) fn passed(&mut self, head: u64) -> u64 {
        let mut passed = head;
        for client in &mut self.list {
            client.refresh(head);
            if client.delivery == Delivery::InOrder && !client.expelled {
                passed = passed.min(client.passed);
            }
        }
        passed
    }

    /// Whether a client that the writer waits for has yet to receive the frame at `position`.
    pub(crate) fn await_frame(&mut self, position: u64, head: u64) -> bool {
        self.list
            .iter_mut()
            .filter(|client| client.is_waited_for())
            .any(|client| {
                client.refresh(head);
                client.passed <= position
            })
    }

    /// Gives up waiting for the clients that have not received the frame at `position`, and names
    /// them.
    pub(crate) fn lapse(&mut self, position: u64, head: u64) -> Vec<ClientId> {
        let mut lapsed = Vec::new();
        for client in self.list.iter_mut().filter(|client| client.is_waited_for()) {
            client.refresh(head);
            if client.passed <= position {
                client.lapsed = true;
                lapsed.push(client.id);
            }
        }
        lapsed
    }

    /// Waits again for clients that have caught up, and names them.
    pub(crate) fn forgive(&mut self, head: u64) -> Vec<ClientId> {
        let mut caught_up = Vec::new();
        for client in self.list.iter_mut().filter(|client| client.lapsed) {
            client.refresh(head);
            if client.passed == head {
                client.lapsed = false;
                caught_up.push(client.id);
            }
        }
        caught_up
    }
}
