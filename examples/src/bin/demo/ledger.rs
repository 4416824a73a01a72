//! Who has published and received which frame, and whether the two are the same.

use std::collections::BTreeMap;

use crate::Result;
use crate::pace::Pace;
use crate::report::Sight;
use crate::role::{CLIENTS, Role};

/// The books of the show.
#[derive(Debug)]
pub struct Ledger {
    published: Vec<Sight>,
    /// The producer's pace.
    pub pace: Pace,
    clients: BTreeMap<Role, Account>,
}

/// What one client has received, in all of its lives.
#[derive(Debug, Default)]
pub struct Account {
    /// The first and the last frame of each life.
    lives: Vec<Option<(u64, u64)>>,
    /// Frames received.
    pub received: u64,
    /// Those of them that were as the producer had published them.
    pub equal: u64,
    /// Those that were not.
    pub unequal: Vec<u64>,
    /// Frames whose bytes were not where the producer had put them.
    pub copied: u64,
    /// Frames that were not received, though the client was there.
    pub missed: u64,
    /// How fast they came.
    pub pace: Pace,
    /// From publishing to receiving, in nanoseconds.
    latencies: Vec<u64>,
    /// Frames that the producer has yet to tell of.
    open: Vec<Entry>,
}

/// A frame received.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sight: Sight,
    /// It was published before the client was there.
    is_greeting: bool,
}

impl Ledger {
    /// Empty books.
    pub fn new() -> Ledger {
        Ledger {
            published: Vec::new(),
            pace: Pace::default(),
            clients: CLIENTS.map(|role| (role, Account::default())).into(),
        }
    }

    /// Frames published.
    pub fn published(&self) -> u64 {
        self.published.len() as u64
    }

    /// Frames published that were written straight into shared memory.
    pub fn published_in_place(&self) -> u64 {
        self.published.iter().filter(|sight| sight.in_place).count() as u64
    }

    /// Frames received that were as the producer had published them, by all clients.
    pub fn equal(&self) -> u64 {
        self.clients.values().map(|account| account.equal).sum()
    }

    /// The client's account.
    pub fn account(&self, client: Role) -> &Account {
        &self.clients[&client]
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (Role, &Account)> {
        self.clients.iter().map(|(role, account)| (*role, account))
    }

    /// The producer publishes a frame.
    pub fn publish(&mut self, sight: Sight) -> Result<()> {
        if sight.seq != self.published() {
            return Err(format!("frame {} was published out of turn", sight.seq).into());
        }
        self.published.push(sight);
        self.pace.frame(sight.at);
        for account in self.clients.values_mut() {
            account.settle(&self.published);
        }
        Ok(())
    }

    /// A process of the client has started.
    pub fn begin_life(&mut self, client: Role) {
        if let Some(account) = self.clients.get_mut(&client) {
            account.lives.push(None);
            account.pace.pause();
        }
    }

    /// The client has received a frame.
    pub fn receive(&mut self, client: Role, sight: Sight) {
        if let Some(account) = self.clients.get_mut(&client) {
            account.receive(sight);
            account.settle(&self.published);
        }
    }
}

impl Account {
    /// The first and the last frame of a life, the first life is 0; `None` before there is one.
    pub fn life(&self, number: usize) -> Option<(u64, u64)> {
        self.lives.get(number).copied().flatten()
    }

    /// The latest frame of all.
    pub fn latest(&self) -> Option<u64> {
        self.life(self.lives.len().checked_sub(1)?)
            .map(|(_, last)| last)
    }

    /// Whether every frame was compared.
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// The latency that a share of all frames does not exceed, in nanoseconds.
    pub fn latency(&self, share: f64) -> Option<u64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    fn receive(&mut self, sight: Sight) {
        self.received += 1;
        self.copied += u64::from(!sight.in_place);
        self.pace.frame(sight.at);
        let Some(life) = self.lives.last_mut() else {
            return;
        };
        let is_greeting = life.is_none();
        let (_, last) = life.get_or_insert((sight.seq, sight.seq));
        self.missed += sight.seq.saturating_sub(*last + 1);
        *last = sight.seq;
        self.open.push(Entry { sight, is_greeting });
    }

    /// Compares what can be compared by now.
    fn settle(&mut self, published: &[Sight]) {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|entry| match published.get(entry.sight.seq as usize) {
            Some(original) => {
                self.compare(*entry, original);
                false
            }
            None => true,
        });
        self.open = open;
    }

    fn compare(&mut self, entry: Entry, original: &Sight) {
        match entry.sight.print == original.print {
            true => self.equal += 1,
            false => self.unequal.push(original.seq),
        }
        if !entry.is_greeting {
            let latency = entry.sight.at.saturating_sub(original.at);
            self.latencies.push(latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(seq: u64, at: u64) -> Sight {
        Sight {
            seq,
            at,
            print: seq * 1000,
            in_place: true,
        }
    }

    #[test]
    fn frames_are_compared_whoever_tells_of_them_first() {
        let mut ledger = Ledger::new();
        ledger.begin_life(Role::Viewer);
        ledger.publish(sight(0, 10)).unwrap();
        ledger.receive(Role::Viewer, sight(0, 500));
        ledger.receive(Role::Viewer, sight(1, 25));
        assert!(!ledger.account(Role::Viewer).is_settled());
        ledger.publish(sight(1, 20)).unwrap();
        let account = ledger.account(Role::Viewer);
        assert!(account.is_settled());
        assert_eq!((account.equal, account.unequal.len()), (2, 0));
        // Not that of the frame that was there before the client.
        assert_eq!(account.latency(0.99), Some(5));
    }

    #[test]
    fn another_picture_is_told_apart() {
        let mut ledger = Ledger::new();
        ledger.begin_life(Role::Meter);
        ledger.publish(sight(0, 10)).unwrap();
        let received = Sight {
            print: 1,
            in_place: false,
            ..sight(0, 11)
        };
        ledger.receive(Role::Meter, received);
        let account = ledger.account(Role::Meter);
        assert_eq!((account.equal, &account.unequal[..]), (0, &[0][..]));
        assert_eq!(account.copied, 1);
        assert!(ledger.publish(sight(2, 10)).is_err());
    }

    #[test]
    fn only_gaps_within_a_life_are_missed() {
        let mut ledger = Ledger::new();
        for life in [&[3, 4, 6][..], &[9, 10]] {
            ledger.begin_life(Role::Phoenix);
            for &seq in life {
                ledger.receive(Role::Phoenix, sight(seq, seq));
            }
        }
        let account = ledger.account(Role::Phoenix);
        assert_eq!(account.missed, 1);
        assert_eq!(account.life(0), Some((3, 6)));
        assert_eq!(account.life(1), Some((9, 10)));
        assert_eq!(account.latest(), Some(10));
    }
}
