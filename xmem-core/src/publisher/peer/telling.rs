//! What a client is told while it is one: segments, events, and its quota.

use std::sync::Arc;

use super::{Attached, Peer, event_message};
use crate::clients::ClientId;
use crate::event::EventKind;
use crate::event::log::Entry;
use crate::message::Message;
use crate::pool::Pool;
use crate::pool::quotas::Answer;
use crate::segment::{PayloadSegment, SegmentId};

/// What all clients are told, as of one moment.
pub(in crate::publisher) struct Snapshot {
    /// In the order of their numbers.
    segments: Vec<Arc<PayloadSegment>>,
    events: Vec<Entry>,
    answers: Vec<(ClientId, Answer)>,
}

impl Snapshot {
    /// What is new to any of these.
    pub(in crate::publisher) fn of(pool: &Pool, peers: &[Peer]) -> Snapshot {
        let clients = peers.iter().filter(|peer| peer.client().is_some());
        let oldest = clients.map(|peer| peer.event).min().unwrap_or(u64::MAX);
        Snapshot {
            segments: pool.segments.clone(),
            events: pool.log.after(oldest).cloned().collect(),
            answers: pool.answers(),
        }
    }

    /// In the order of their numbers.
    pub(in crate::publisher) fn segments(&self) -> &[Arc<PayloadSegment>] {
        &self.segments
    }
}

impl Peer {
    /// Queues what the client was not told yet, up to `limit` messages in all. Says whether that was
    /// all.
    pub(in crate::publisher) fn update(&mut self, snapshot: &Snapshot, limit: usize) -> bool {
        self.update_segments(snapshot, limit)
            && self.update_events(snapshot, limit)
            && self.update_answer(snapshot, limit)
    }

    /// Tells the client what it has, where it does not know it. What it was told of and has not read is
    /// not told twice.
    fn update_answer(&mut self, snapshot: &Snapshot, limit: usize) -> bool {
        let is_mine = |(id, _): &&(ClientId, Answer)| Some(*id) == self.client();
        let Some(&(_, answer)) = snapshot.answers.iter().find(is_mine) else {
            return true;
        };
        if self.answer == answer {
            return true;
        }
        if self.queue.len() >= limit {
            return false;
        }
        self.answer = answer;
        let Answer { number, grant } = answer;
        self.tell(&Message::Granted { number, grant });
        true
    }

    fn update_segments(&mut self, snapshot: &Snapshot, limit: usize) -> bool {
        let of = |id: SegmentId| {
            snapshot
                .segments
                .binary_search_by_key(&id, |segment| segment.id)
        };
        let gone = self.segments.iter().filter(|id| of(**id).is_err());
        let gone: Vec<_> = gone.copied().collect();
        for id in gone {
            let is_of_it =
                |attached: &Attached| matches!(attached, Attached::Segment(of, _) if *of == id);
            let untold = self.queue.iter().position(|(_, of)| is_of_it(of));
            // Where it was not told of it yet, it never is.
            if untold.and_then(|at| self.queue.remove(at)).is_none() {
                if self.queue.len() >= limit {
                    return false;
                }
                self.tell(&Message::SegmentGone { id });
            }
            self.segments.remove(&id);
        }
        for segment in &snapshot.segments {
            // No frame in memory that it does not take is published while it is here.
            let is_for_it = self.takes.takes(segment.kind());
            if !is_for_it || self.segments.contains(&segment.id) {
                continue;
            }
            if self.queue.len() >= limit {
                return false;
            }
            self.segments.insert(segment.id);
            let message = Message::Segment {
                id: segment.id,
                memory: segment.describe(),
            };
            let attached = Attached::Segment(segment.id, Arc::downgrade(segment));
            self.queue.push_back((message.encode(), attached));
        }
        true
    }

    fn update_events(&mut self, snapshot: &Snapshot, limit: usize) -> bool {
        for entry in snapshot.events.iter() {
            if entry.number <= self.event {
                continue;
            }
            // A long one keeps a descriptor, and memory: no more than one waits, but for the last ones.
            let is_long = |(_, attached): &(_, Attached)| matches!(attached, Attached::Event(_));
            let is_second = entry.memory.is_some() && self.queue.iter().any(is_long);
            if self.queue.len() >= limit || is_second && limit < usize::MAX {
                return false;
            }
            self.event = entry.number;
            let is_for_it = match entry.kind {
                EventKind::Passing => entry.number > self.once,
                EventKind::Urgent | EventKind::Flush => entry.number > self.joined,
                _ => true,
            };
            if is_for_it {
                self.queue.push_back(event_message(entry));
            } else {
                self.tell(&Message::Told {
                    number: entry.number,
                });
            }
        }
        true
    }
}
