//! Figures of a publisher.

use std::sync::atomic::Ordering;

use crate::clients::{Client, ClientId};
use crate::message::Delivery;
use crate::pool::Pool;
use crate::quota::Quota;
use crate::sys::pidfd;
use crate::writer::Writer;

/// Figures of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Frames published.
    pub published: u64,
    /// Slots that later frames can use.
    pub slots: u32,
    /// Bytes of such a slot, `None` until they are known.
    pub slot_size: Option<usize>,
    /// Blocks of memory that the slots are in.
    pub segments: usize,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of segments that are used no more, and that clients have not let go of.
    pub departed_bytes: u64,
    /// Frames and events that wait until work on a device is done; see
    /// [`FrameMut::publish_after`](crate::FrameMut::publish_after).
    pub pending: usize,
    /// Frames that waited for it and were not published: a flush came, the device has failed, or the
    /// publisher was closed. Those that were [discarded](crate::FrameMut::discard_after) do not count.
    pub unpublished: u64,
    /// The clients there are.
    pub clients: Vec<ClientStats>,
}

/// Figures of one client. `held`, `lag` and `missed` are what the client itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Its number.
    pub id: ClientId,
    /// The name that it gave itself.
    pub name: String,
    /// Its process; `None` where that can't be seen from here.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Which frames it wants.
    pub delivery: Delivery,
    /// Whether it takes frames in memory that other processes may write
    /// ([`UnsealedMemory`](crate::UnsealedMemory)). While one client does not,
    /// [`Publisher::import_frame`](crate::Publisher::import_frame) of such memory fails.
    pub takes_unsealed: bool,
    /// What it has: how many frames it can hold, and how far it can fall behind.
    pub quota: Quota,
    /// What it has asked for.
    pub wanted: Quota,
    /// Frames that it holds.
    pub held: u32,
    /// Frames published that it has not received yet.
    pub lag: u64,
    /// Frames that were gone before it received them.
    pub missed: u64,
    /// Whether the writer has given up waiting for it.
    pub lagging: bool,
}

impl PublisherStats {
    pub(super) fn of(writer: &Writer) -> PublisherStats {
        let pending = writer.pending();
        let unpublished = writer.unpublished.load(Ordering::Relaxed);
        writer.with_pool(|pool| PublisherStats {
            pending,
            unpublished,
            ..PublisherStats::of_pool(pool)
        })
    }

    fn of_pool(pool: &Pool) -> PublisherStats {
        let clients = pool.clients.iter();
        PublisherStats {
            published: pool.head(),
            slots: pool.count(),
            slot_size: known_size(pool),
            segments: pool.segments.len(),
            bytes: pool.bytes(),
            departed_bytes: pool.departed_bytes,
            pending: 0,
            unpublished: 0,
            clients: clients
                .map(|client| ClientStats::of(client, pool.head()))
                .collect(),
        }
    }
}

impl ClientStats {
    fn of(client: &Client, head: u64) -> ClientStats {
        let page = client.page.words();
        let identity = &client.identity;
        ClientStats {
            id: client.id,
            name: identity.name.clone(),
            pid: pidfd::known(identity.pid),
            uid: identity.uid,
            delivery: identity.delivery,
            takes_unsealed: identity.takes.unsealed,
            quota: client.granted,
            wanted: client.wanted,
            held: page.held().count() as u32,
            lag: head.saturating_sub(page.position()),
            missed: page.missed.load(Ordering::Relaxed),
            lagging: client.lagging,
        }
    }
}

/// The size of slots, which the pool has as 0 until it is known.
pub(super) fn known_size(pool: &Pool) -> Option<usize> {
    (pool.slot_size() > 0).then_some(pool.slot_size())
}
