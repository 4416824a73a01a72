//! Memory that the pool uses no more, and that clients may still have.
//!
//! A client that is told of the end of a segment closes it. But it can keep the memory: its mapping,
//! or a copy of the descriptor that no one sees. Such memory counts for the producer's control
//! group, so the producer counts it as its own until the last process has let go of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::segment::PayloadSegment;
use crate::sys::openers;

/// How often the memory is looked at while there is some.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Departed {
    /// Of each a descriptor to look with, and its bytes.
    list: Vec<(OwnedFd, u64)>,
    /// Those for which there was no descriptor left.
    unseen: Vec<Arc<PayloadSegment>>,
    looked: Option<Instant>,
}

impl Departed {
    /// Takes over what no slot uses any more. What others have made is theirs.
    pub(super) fn add(&mut self, gone: Vec<Arc<PayloadSegment>>) {
        if gone.is_empty() {
            return;
        }
        let own = gone.into_iter().filter(|one| !one.is_imported());
        self.unseen.extend(own);
        self.take_descriptors();
        self.looked = None;
    }

    fn take_descriptors(&mut self) {
        let list = &mut self.list;
        self.unseen.retain(|segment| {
            let fd = segment.fd().map(openers::open_to_look);
            match fd {
                Some(Ok(fd)) => list.push((fd, segment.size() as u64)),
                Some(Err(_)) => return true,
                None => {}
            }
            // Unmaps it, and closes what clients were passed.
            false
        });
    }

    /// Forgets what no other process has any more. Its memory goes with that.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if self.is_empty() || self.looked.is_some_and(|looked| now < looked + INTERVAL) {
            return;
        }
        self.looked = Some(now);
        self.take_descriptors();
        self.list.retain(|(fd, _)| openers::has_others(fd));
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty() && self.unseen.is_empty()
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let next = self
            .looked
            .map_or_else(Instant::now, |looked| looked + INTERVAL);
        (!self.is_empty()).then_some(next)
    }

    /// Bytes that are left.
    pub(super) fn bytes(&self) -> u64 {
        let unseen = self.unseen.iter().map(|segment| segment.size() as u64);
        self.list
            .iter()
            .map(|(_, bytes)| *bytes)
            .chain(unseen)
            .sum()
    }
}
