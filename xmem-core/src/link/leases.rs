//! Which leases a client uses, and which quota it has asked for.

use std::sync::Arc;

use crate::quota::{Grant, Quota};
use crate::segment::PayloadSegment;

#[derive(Debug)]
pub(super) struct Leases {
    pub(super) free: Vec<u16>,
    /// How many there are, free ones and others: the page's first words.
    pub(super) count: u32,
    /// The receiving thread waits for one.
    pub(super) starved: bool,
    /// There is no subscriber any more, only frames.
    pub(super) abandoned: bool,
}

impl Leases {
    pub(super) fn are_all_free(&self) -> bool {
        self.free.len() == self.count as usize
    }

    /// Puts those beyond `count` out of use, as far as they are free. Says how many there are then.
    pub(super) fn give_up(&mut self, count: u32) -> u32 {
        let mut is_free = vec![false; self.count as usize];
        for &lease in &self.free {
            is_free[usize::from(lease)] = true;
        }
        let used = is_free.iter().rposition(|is_free| !is_free);
        self.count = self
            .count
            .min(count.max(used.map_or(0, |last| last as u32 + 1)));
        let count = self.count;
        self.free.retain(|&lease| u32::from(lease) < count);
        count
    }

    /// Takes more into use.
    pub(super) fn raise(&mut self, count: u32) {
        let more = self.count..count;
        // The lowest are taken first: so the others are free when they are given up.
        self.free.splice(0..0, more.rev().map(|lease| lease as u16));
        self.count = self.count.max(count);
    }
}

/// A lease, and the memory that is read: it stays mapped until the work is done.
pub(crate) struct Held {
    pub(super) lease: u16,
    pub(super) segment: Arc<PayloadSegment>,
}

/// What the client has asked its producer for, and what it has got.
#[derive(Debug)]
pub(super) struct Asked {
    /// How often it has asked.
    pub(super) number: u32,
    pub(super) wanted: Quota,
    pub(super) granted: Grant,
}

impl Asked {
    pub(super) fn of_leases(leases: u32) -> Asked {
        let quota = Quota::of_leases(leases);
        Asked {
            number: 0,
            wanted: quota,
            granted: Grant {
                quota,
                most: quota.backlog,
            },
        }
    }
}
