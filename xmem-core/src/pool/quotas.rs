//! What is kept for each client: what it asks for, what the producer's limits allow, and what it
//! has.
//!
//! A client *has* a quota only when the slots for it are there. So the wanted quota becomes the
//! target, as far as the limits allow; the target decides how many slots are made; and the grant
//! follows the slots there are.

use super::Pool;
use super::filling::Filling;
use crate::clients::{Client, ClientId};
use crate::error::{Refusal, Setting};
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

/// What all clients but one need: slots for their leases, and the most that one of them needs beyond
/// its own.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    leases: u32,
    beyond: u32,
}

impl Others {
    /// The most leases of the one client, with the backlog that it has, where all may have `most` slots. 0
    /// where that backlog alone is too much.
    fn most_leases(self, quota: Quota, most: u32) -> u32 {
        if self.leases + quota.backlog <= most {
            most.saturating_sub(self.leases + self.beyond)
        } else {
            0
        }
    }

    /// The largest backlog of the one client, with the leases that it has, where all may have `most` slots.
    /// What others want beyond their leases is there for this one, too.
    fn most_backlog(self, quota: Quota, most: u32) -> u32 {
        if self.leases + quota.leases + self.beyond <= most {
            most - self.leases
        } else {
            quota.leases
        }
    }

    /// Of `most` slots for all clients, those for the leases that there are from the start, and half of
    /// the others.
    fn half_for(self, client: &Client, most: u32) -> u32 {
        let base = self.leases + client.base + self.beyond;
        base + most.saturating_sub(base) / 2
    }
}

impl Pool {
    /// Slots that the clients need, with the quotas that the producer's limits allow, and the group for
    /// later ones. Each client's leases are its own. The frames beyond them are the same for all, which want
    /// the newest ones: the group that a client begins with, too.
    pub(crate) fn clients_need(&self) -> u32 {
        let targets = || self.clients.iter().map(|client| client.target);
        let leases: u32 = targets().map(|target| target.leases).sum();
        let beyond = targets().map(|target| target.beyond_leases()).max();
        leases + beyond.unwrap_or(0).max(self.group.target)
    }

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
            let target = self.clients.get(id).map(|one| self.target_for(one, most));
            self.clients
                .change(id, |client| client.target = target.unwrap_or_default());
        }
        self.assign_group(most);
        let group = Others {
            leases: 0,
            beyond: self.group.target,
        };
        for &id in &ids {
            let others = self.others(id, group, |other| other.target);
            self.clients.change(id, |client| {
                let most = if client.identity.is_own_user {
                    most
                } else {
                    others.half_for(client, most)
                };
                let backlog = others.most_backlog(client.target, most);
                client.most = backlog.max(client.target.backlog).min(MAX_SLOTS);
                client.granted.backlog = client.granted.backlog.min(client.target.backlog);
            });
        }
        if self.missing() > 0 && matches!(self.filling, Filling::Done) {
            self.filling = Filling::Due;
        }
        self.grant();
    }

    /// What a client can have of what it wants, where all clients may have `most` slots.
    fn target_for(&self, client: &Client, most: u32) -> Quota {
        let others = self.others(client.id, Others::default(), |other| other.target);
        let mut wanted = client.wanted;
        if client.request == 0 {
            wanted.backlog = wanted
                .backlog
                .min(client.target.leases.max(self.small_backlog()));
        }
        let half = others.half_for(client, most);
        let leases = others.most_leases(client.target, half);
        let quota = Quota {
            leases: leases.min(wanted.leases).max(client.target.leases),
            backlog: 0,
        };
        let most = if client.identity.is_own_user {
            most
        } else {
            half
        };
        let backlog = others.most_backlog(quota, most).min(wanted.backlog);
        Quota { backlog, ..quota }
    }

    /// What the clients but this one need, each with the quota that `of` tells, beside the `first` of them.
    fn others(&self, id: ClientId, first: Others, of: impl Fn(&Client) -> Quota) -> Others {
        let others = self.clients.iter().filter(|client| client.id != id);
        others.map(of).fold(first, |sum, quota| Others {
            leases: sum.leases + quota.leases,
            beyond: sum.beyond.max(quota.beyond_leases()),
        })
    }

    /// The backlog that costs so little that clients have it before they know how much they need.
    fn small_backlog(&self) -> u32 {
        match self.slot_size {
            0 => 0,
            size => (SMALL_BACKLOG / size.next_multiple_of(PAGE)) as u32,
        }
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
            let (granted, target) = (client.granted, client.target);
            // What they have does not wait for the slots of a group.
            let others = self.others(id, Others::default(), |other| other.granted);
            let leases = others.most_leases(granted, most).min(target.leases);
            let mut quota = Quota {
                leases: leases.max(granted.leases),
                ..granted
            };
            let backlog = others.most_backlog(quota, most).min(target.backlog);
            quota.backlog = backlog.max(granted.backlog);
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
        let least = match self.max_bytes {
            0 => self.own_need(0) + base + leases,
            _ => 0,
        };
        let left = self.budget().saturating_sub(self.departed_bytes);
        let stride = self.slot_size.next_multiple_of(PAGE) as u64;
        let by_bytes = u32::try_from(left / stride).unwrap_or(u32::MAX);
        by_number.min(by_bytes.max(least))
    }

    /// Most bytes of slots, but for those that the producer and its clients can't do without.
    pub(super) fn budget(&self) -> u64 {
        match self.max_bytes {
            0 => DEFAULT_BUDGET,
            bytes => bytes,
        }
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
    pub(crate) fn why_not(&self, leases: u32) -> Option<Refusal> {
        let (needed, allowed) = (self.needed_at_least(leases), self.slots_allowed(leases));
        let limit = if allowed == self.limit() {
            Setting::MaxSlots
        } else {
            Setting::MaxBytes
        };
        (needed > allowed).then(|| Refusal::TooFewSlots {
            leases,
            needed,
            allowed,
            limit,
            slot_size: self.slot_size.next_multiple_of(PAGE) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots for the others and a client with this quota.
    fn slots(others: Others, quota: Quota) -> u32 {
        others.leases + quota.leases + others.beyond.max(quota.beyond_leases())
    }

    #[test]
    fn the_most_fits_and_one_more_does_not() {
        let numbers = [0, 1, 2, 3, 5, 8, 13];
        let fours = numbers.iter().flat_map(|&leases| {
            let rest = numbers
                .iter()
                .flat_map(move |&beyond| numbers.map(|own| (beyond, own)));
            rest.map(move |(beyond, own)| (Others { leases, beyond }, own))
        });
        for (others, own) in fours {
            for most in 0..40 {
                let backlog = 7;
                let leases = others.most_leases(Quota { leases: 1, backlog }, most);
                let fits = |leases| slots(others, Quota { leases, backlog }) <= most;
                assert!(leases == 0 || fits(leases), "{others:?}, {most}");
                assert!(!fits(leases + 1), "{others:?}, {most}");
                let quota = Quota {
                    leases: own,
                    backlog: 0,
                };
                let backlog = others.most_backlog(quota, most);
                let fits = |backlog| slots(others, Quota { backlog, ..quota }) <= most;
                assert!(backlog == own || fits(backlog), "{others:?}, {own}, {most}");
                assert!(!fits(backlog + 1), "{others:?}, {own}, {most}");
            }
        }
    }
}
