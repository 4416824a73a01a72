//! Floor 1: what a producer keeps for one client.

use crate::segment::{MAX_LEASES, MAX_SLOTS};

/// What a producer keeps for one client: how many frames that can hold, and how far it can fall
/// behind.
///
/// A frame that is held counts for both. A client whose pipeline has a latency of `L` and whose
/// frames last `D` needs `L / D` frames of backlog, and some for jitter; leases it needs for those
/// of them that it holds at once.
///
/// ```
/// use xmem_core::Quota;
///
/// // Half a second of video at 60 frames a second, of which the sink holds one at a time.
/// let quota = Quota { leases: 4, backlog: 30 };
/// assert!(quota.is_possible());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Frames that the client can hold at once, 1 to [`MAX_LEASES`].
    pub leases: u32,
    /// How many of the newest frames the client can still receive, those that it holds included. A
    /// client that takes only the newest frame needs none.
    pub backlog: u32,
}

impl Quota {
    /// A client's leases, and the same number of frames to fall behind.
    pub fn of_leases(leases: u32) -> Quota {
        Quota {
            leases,
            backlog: leases,
        }
    }

    /// Whether a client may ask for this.
    pub fn is_possible(self) -> bool {
        (1..=MAX_LEASES).contains(&self.leases) && self.backlog <= MAX_SLOTS
    }

    /// Frames to be kept beyond those that the client can hold.
    pub(crate) fn beyond_leases(self) -> u32 {
        self.backlog.saturating_sub(self.leases)
    }
}

/// A producer's answer to the [`Quota`] that a client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What the client has now.
    pub quota: Quota,
    /// The largest backlog that the client could have now, by the producer's `max_slots` and
    /// `max_bytes`.
    pub most: u32,
}
