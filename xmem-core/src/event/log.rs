//! The producer's record of what was said, as far as a client may still have to be told.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::EventKind;

/// Most events that are kept for clients that have not been told yet and that no frame needs.
const MAX_SPARE: usize = 128;
/// Most bytes of these.
const MAX_SPARE_BYTES: usize = 4 << 20;

/// An event, and its place in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Counted from 1.
    pub(crate) number: u64,
    /// It comes before the frame at this position.
    pub(crate) position: u64,
    pub(crate) kind: EventKind,
    pub(crate) content: Arc<[u8]>,
    /// What clients read the content from, where it is too long for a message.
    pub(crate) memory: Option<Arc<OwnedFd>>,
}

/// Events in the order of their numbers.
///
/// What a frame that can still be received needs is kept, and of each key the newest. Of all else
/// the last few are, for clients that read slowly; a client that reads more slowly than that does
/// not hear of the others, as it does not get frames that are gone.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    last: u64,
}

impl Log {
    /// The number of the event that was said last, 0 for none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The newest event that is true now, of those with this one's key.
    pub(crate) fn current(&self, kind: EventKind) -> Option<&Entry> {
        let key = kind.key()?;
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| entry.kind.key() == Some(key))
    }

    /// The events with higher numbers than this.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.range(start..)
    }

    /// What was true at the event `number`, for a client whose first frame is the one at `position`:
    /// in the order of the keys.
    pub(crate) fn as_of(&self, number: u64, position: u64) -> Vec<Entry> {
        let mut newest = HashMap::new();
        for entry in self
            .entries
            .iter()
            .take_while(|entry| entry.number <= number)
        {
            let Some(key) = entry.kind.key() else {
                continue;
            };
            newest.insert(key, entry);
        }
        let mut entries: Vec<_> = newest.into_iter().collect();
        // An end of the stream that came before the client's first frame is none of its.
        entries.retain(|(_, entry)| match entry.kind {
            EventKind::EndOfStream => entry.position >= position,
            EventKind::Sticky(_) => !entry.content.is_empty(),
            _ => true,
        });
        entries.sort_by_key(|(key, _)| *key);
        entries
            .into_iter()
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// Adds an event that comes before the frame at `position`. `in_use` tells the events that are
    /// the last before a frame which can still be received.
    pub(crate) fn push(
        &mut self,
        position: u64,
        kind: EventKind,
        content: Arc<[u8]>,
        memory: Option<Arc<OwnedFd>>,
        in_use: impl FnOnce() -> Vec<u64>,
    ) {
        self.last += 1;
        self.entries.push_back(Entry {
            number: self.last,
            position,
            kind,
            content,
            memory,
        });
        if self.entries.len() > MAX_SPARE || self.bytes() > MAX_SPARE_BYTES {
            self.prune(in_use());
        }
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.content.len()).sum()
    }

    /// Forgets what is spare, the oldest first, until there is little of it.
    fn prune(&mut self, mut in_use: Vec<u64>) {
        in_use.sort_unstable();
        let is_used = |from: u64, until: u64| {
            let first = in_use.partition_point(|&number| number < from);
            in_use.get(first).is_some_and(|&number| number < until)
        };
        let mut replaced_by = HashMap::new();
        let (mut count, mut bytes) = (0, 0);
        // From the newest to the oldest, so that the oldest spare ones are over the limits.
        let mut kept: VecDeque<Entry> = VecDeque::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries).into_iter().rev() {
            let is_spare = match entry.kind.key() {
                None => true,
                Some(key) => match replaced_by.insert(key, entry.number) {
                    Some(next) => !is_used(entry.number, next),
                    None => false,
                },
            };
            if is_spare && !kept.is_empty() {
                count += 1;
                bytes += entry.content.len();
                if count > MAX_SPARE / 2 || bytes > MAX_SPARE_BYTES / 2 {
                    continue;
                }
            }
            kept.push_front(entry);
        }
        self.entries = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(log: &mut Log, kind: EventKind, text: &str, in_use: &[u64]) -> u64 {
        let content = text.as_bytes().into();
        log.push(0, kind, content, None, || in_use.to_vec());
        log.last()
    }

    fn numbers<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn who_joins_is_told_what_is_true_in_the_order_of_the_keys() {
        let mut log = Log::default();
        say(&mut log, EventKind::Format, "first", &[]);
        say(&mut log, EventKind::Sticky(2), "start", &[]);
        say(&mut log, EventKind::Passing, "gap", &[]);
        say(&mut log, EventKind::Format, "second", &[]);
        say(&mut log, EventKind::Sticky(1), "stream", &[]);
        assert_eq!(numbers(&log.as_of(5, 0)), [5, 2, 4]);
        assert_eq!(numbers(&log.as_of(3, 0)), [2, 1]);
        assert_eq!(numbers(log.after(3)), [4, 5]);
    }

    #[test]
    fn what_was_taken_back_is_not_told() {
        let mut log = Log::default();
        say(&mut log, EventKind::Sticky(1), "tags", &[]);
        say(&mut log, EventKind::Sticky(1), "", &[]);
        assert_eq!(numbers(&log.as_of(1, 0)), [1]);
        assert!(log.as_of(2, 0).is_empty());
        say(&mut log, EventKind::Sticky(1), "tags", &[]);
        assert_eq!(numbers(&log.as_of(3, 0)), [3]);
    }

    #[test]
    fn an_end_before_the_first_frame_is_not_told() {
        let mut log = Log::default();
        log.push(7, EventKind::EndOfStream, [].into(), None, Vec::new);
        assert_eq!(numbers(&log.as_of(1, 7)), [1]);
        assert!(log.as_of(1, 8).is_empty());
    }

    #[test]
    fn what_no_frame_needs_is_forgotten_and_what_one_needs_is_kept() {
        let mut log = Log::default();
        let tags = say(&mut log, EventKind::Sticky(9), "tags", &[]);
        let mut needed = Vec::new();
        for number in 0..50 {
            needed.push(say(
                &mut log,
                EventKind::Format,
                &number.to_string(),
                &needed,
            ));
        }
        for _ in 0..10_000 {
            say(&mut log, EventKind::Passing, "gap", &needed);
            say(&mut log, EventKind::Sticky(3), "other", &needed);
        }
        let entries = numbers(&log.entries);
        assert!(needed.iter().all(|number| entries.contains(number)));
        assert!(entries.contains(&tags));
        assert!(entries.len() <= 50 + MAX_SPARE + 2, "{}", entries.len());
        assert!(entries.contains(&log.last()));

        let long = "x".repeat(MAX_SPARE_BYTES + 1);
        let last = say(&mut log, EventKind::Passing, &long, &[]);
        assert!(numbers(&log.entries).contains(&last));
        assert!(numbers(log.after(last - 1)) == [last]);
    }
}
