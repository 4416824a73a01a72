//! What is kept for each client: what it asks for, what the producer's limits allow, and what it
//! has.
//!
//! A client *has* a quota only when the slots for it are there. So the wanted quota becomes the
//! target, as far as the limits allow; the target decides how many slots are made; and the grant
//! follows the slots there are.

use super::{Filling, Pool};
use crate::clients::{Client, ClientId, Clients};
use crate::quota::{Grant, Quota};
use crate::segment::{MAX_SLOTS, PAGE};

/// Bytes of slots where the user sets no limit; more where the producer and the leases that clients
/// have from the start need more.
const DEFAULT_BUDGET: u64 = 1 << 30;

/// Bytes of the frames that are kept for a client which has not asked for others yet.
const SMALL_BACKLOG: usize = 2 << 20;

/// The answer to a client's last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Which request it was.
    pub(crate) number: u32,
    pub(crate) grant: Grant,
}

impl Clients {
    /// Slots that the clients need, with the quotas that `of` tells. Each client's leases are its own.
    /// The frames beyond them are the same for all, which want the newest ones.
    fn slots_for(&self, of: impl Fn(&Client) -> Quota) -> u32 {
        let leases: u32 = self.iter().map(|client| of(client).leases).sum();
        let beyond = self.iter().map(|client| of(client).beyond_leases()).max();
        leases + beyond.unwrap_or(0)
    }

    /// Slots for the clients that the producer's limits allow.
    pub(crate) fn slots(&self) -> u32 {
        self.slots_for(|client| client.target)
    }
}

impl Pool {
    /// A client asks for another quota. What it gives up, it has put out of use.
    pub(crate) fn request(&mut self, id: ClientId, number: u32, quota: Quota) {
        self.clients.change(id, |client| {
            client.request = number;
            client.wanted = quota;
            client.granted.leases = client.granted.leases.min(quota.leases);
            client.base = client.base.min(quota.leases);
            // Under the lock, as every look at the leases is.
            client.page.set_leases(client.granted.leases);
        });
        self.assign();
    }

    /// Decides how much each client can have of what it wants: first come, first served.
    ///
    /// Leases that were granted stay, because the client may hold frames with them. So one client gets
    /// at most half of the room that others leave. A backlog beyond that can be taken back at any
    /// time, for the leases of the next client; a client of another user gets half of it, too.
    pub(crate) fn assign(&mut self) {
        let most = self.slots_allowed(0).saturating_sub(self.own_need(0));
        for client in self.clients.iter_mut() {
            client.target = Quota {
                leases: client.granted.leases,
                backlog: 0,
            };
        }
        let ids: Vec<ClientId> = self.clients.iter().map(|client| client.id).collect();
        for &id in &ids {
            let quota = self.target_for(id, most);
            self.clients.change(id, |client| client.target = quota);
        }
        for &id in &ids {
            let backlog = self.most_backlog(id, most);
            self.clients.change(id, |client| {
                client.most = backlog;
                client.granted.backlog = client.granted.backlog.min(client.target.backlog);
            });
        }
        if self.missing() > 0 && matches!(self.filling, Filling::Done) {
            self.filling = Filling::Due;
        }
        self.grant();
    }

    /// What a client can have of what it wants, where all clients may have `most` slots.
    fn target_for(&self, id: ClientId, most: u32) -> Quota {
        let Some(client) = self.clients.get(id) else {
            return Quota::default();
        };
        let mut quota = client.target;
        let half = self.half_for(client, most);
        let mut wanted = client.wanted;
        if client.request == 0 {
            wanted.backlog = wanted.backlog.min(quota.leases.max(self.small_backlog()));
        }
        for leases in quota.leases + 1..=wanted.leases {
            let more = Quota { leases, ..quota };
            if self.slots_with(id, more) > half {
                break;
            }
            quota = more;
        }
        let most = match client.identity.is_own_user {
            true => most,
            false => half,
        };
        let without = self.slots_with(id, quota);
        let room = most.saturating_sub(without) + self.beyond_leases_of_others(id);
        quota.backlog = wanted.backlog.min(quota.leases + room);
        quota
    }

    /// The backlog that costs so little that clients have it before they know how much they need.
    fn small_backlog(&self) -> u32 {
        match self.slot_size {
            0 => 0,
            size => (SMALL_BACKLOG / size.next_multiple_of(PAGE)) as u32,
        }
    }

    /// The largest backlog that the client could have, wherever it wants it.
    fn most_backlog(&self, id: ClientId, most: u32) -> u32 {
        let Some(client) = self.clients.get(id) else {
            return 0;
        };
        let most = match client.identity.is_own_user {
            true => most,
            false => self.half_for(client, most),
        };
        let quota = Quota {
            backlog: 0,
            ..client.target
        };
        let room = most.saturating_sub(self.slots_with(id, quota));
        let backlog = quota.leases + room + self.beyond_leases_of_others(id);
        backlog.max(client.target.backlog).min(MAX_SLOTS)
    }

    /// Slots for all clients, with this quota for one of them.
    fn slots_with(&self, id: ClientId, quota: Quota) -> u32 {
        self.clients.slots_for(|client| match client.id == id {
            true => quota,
            false => client.target,
        })
    }

    /// The frames that the others want beyond their leases are there for this one, too.
    fn beyond_leases_of_others(&self, id: ClientId) -> u32 {
        let others = self.clients.iter().filter(|client| client.id != id);
        let beyond = others.map(|client| client.target.beyond_leases());
        beyond.max().unwrap_or(0)
    }

    /// Of `most` slots for all clients, those for the leases that there are from the start, and half of
    /// the others.
    fn half_for(&self, client: &Client, most: u32) -> u32 {
        let base = Quota::of_leases(client.base);
        let others = self.slots_with(client.id, base);
        others + most.saturating_sub(others) / 2
    }

    /// Raises what the clients have, as far as there are slots for it.
    pub(crate) fn grant(&mut self) {
        let most = self.count().saturating_sub(self.own_need(0));
        let is_short = |client: &&Client| client.granted != client.target;
        let short = self.clients.iter().filter(is_short);
        let short: Vec<ClientId> = short.map(|client| client.id).collect();
        for id in short {
            let Some(client) = self.clients.get(id) else {
                continue;
            };
            let (mut quota, target) = (client.granted, client.target);
            let fits = |quota: Quota| {
                let slots = self.clients.slots_for(|client| match client.id == id {
                    true => quota,
                    false => client.granted,
                });
                slots <= most
            };
            while quota.leases < target.leases
                && let leases = quota.leases + 1
                && fits(Quota { leases, ..quota })
            {
                quota.leases = leases;
            }
            while quota.backlog < target.backlog
                && let backlog = quota.backlog + 1
                && fits(Quota { backlog, ..quota })
            {
                quota.backlog = backlog;
            }
            self.clients.change(id, |client| {
                client.granted = quota;
                // Before the client is told, so that no lease of its goes unseen.
                client.page.set_leases(quota.leases);
            });
        }
    }

    /// What each client has now, and what it was asked for.
    pub(crate) fn answers(&self) -> Vec<(ClientId, Answer)> {
        let answer = |client: &Client| {
            let grant = Grant {
                quota: client.granted,
                most: client.most,
            };
            let number = client.request;
            (client.id, Answer { number, grant })
        };
        self.clients.iter().map(answer).collect()
    }

    /// Most slots, by number and by bytes, for the clients there are and one more with `leases` leases.
    pub(crate) fn slots_allowed(&self, leases: u32) -> u32 {
        let by_number = self.limit();
        if self.slot_size == 0 {
            return by_number;
        }
        let base: u32 = self.clients.iter().map(|client| client.base).sum();
        let (budget, least) = match self.max_bytes {
            0 => (DEFAULT_BUDGET, self.own_need(0) + base + leases),
            bytes => (bytes, 0),
        };
        let left = budget.saturating_sub(self.departed_bytes);
        let stride = self.slot_size.next_multiple_of(PAGE) as u64;
        let by_bytes = u32::try_from(left / stride).unwrap_or(u32::MAX);
        by_number.min(by_bytes.max(least))
    }

    /// Slots without which the producer, the clients there are and one more with `leases` leases can't
    /// do: clients keep the leases that they have.
    pub(crate) fn needed_at_least(&self, leases: u32) -> u32 {
        let granted: u32 = self
            .clients
            .iter()
            .map(|client| client.granted.leases)
            .sum();
        self.own_need(0) + granted + leases
    }

    /// Why one more client with `leases` leases can't be taken, if so.
    pub(crate) fn why_not(&self, leases: u32) -> Option<String> {
        let (needed, allowed) = (self.needed_at_least(leases), self.slots_allowed(leases));
        if needed <= allowed {
            return None;
        }
        let (property, limit) = match allowed == self.limit() {
            true => ("max-buffers", format!("{allowed}")),
            false => (
                "max-bytes",
                format!("{allowed} of {} bytes", self.slot_size),
            ),
        };
        Some(format!(
            "with {leases} leases for one more client {needed} slots are needed in all, and {property} \
             allows {limit}: raise {property} of the producer, or lower max-leases of the client"
        ))
    }
}
