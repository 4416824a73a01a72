//! Clients: taken in, waited for, done without.

use std::time::Duration;

use super::{Overflow, PublisherEvent, Writer};
use crate::cancel::Cancellation;
use crate::clients::{Client, ClientId};
use crate::error::{Error, Result};
use crate::pool::{Joining, UNSEALED_ONLY};
use crate::segment::UnfinishedSegment;
use crate::sys::clock::{self, Deadline};
use crate::sys::{futex, limits};

/// Bytes of memory that are made at once for one client: a few milliseconds' work, which others wait
/// for.
const STEP: usize = 16 << 20;

/// A client that is being taken in.
pub(crate) struct Admission {
    client: Client,
    /// Slots for its leases, where there are too few, and how many.
    slots: Option<(UnfinishedSegment, u32)>,
}

/// What a step of that has come to.
pub(crate) enum Step {
    /// It is in the scan.
    Joined(Joining),
    /// There is more to do.
    More(Admission),
}

impl Admission {
    pub(crate) fn of(client: Client) -> Admission {
        Admission {
            client,
            slots: None,
        }
    }

    /// Bytes that are still to be made for it; `None` where that is not begun.
    pub(crate) fn left(&self) -> Option<usize> {
        self.slots.as_ref().map(|(slots, _)| slots.left())
    }
}

/// What is being made for other clients that are being taken in.
pub(crate) struct Coming {
    slots: u32,
    /// Some of it is there after the next step.
    is_soon: bool,
}

impl Coming {
    pub(crate) fn of<'a>(admissions: impl Iterator<Item = &'a Admission>) -> Coming {
        let mut coming = Coming {
            slots: 0,
            is_soon: false,
        };
        for (segment, count) in admissions.filter_map(|one| one.slots.as_ref()) {
            coming.slots += count;
            coming.is_soon |= segment.left() <= STEP;
        }
        coming
    }
}

impl Writer {
    /// Takes a client in, a step at a time: the slots for its leases are made first. Meanwhile neither
    /// the writer nor other clients wait for that, but those for whose slots there is no room beside
    /// those that are `coming`. What comes soon may be enough for one more: that is waited for, too.
    pub(crate) fn admit(&self, mut admission: Admission, coming: &Coming) -> Result<Step> {
        if let Some((slots, _)) = &mut admission.slots {
            limits::check_memory_for_others(STEP.min(slots.left()))?;
            slots.make(STEP)?;
            if slots.left() > 0 {
                return Ok(Step::More(admission));
            }
        }
        let made = admission.slots.take();
        let made = made.map(|(slots, _)| slots.finish()).transpose()?;
        let client = admission.client;
        let leases = client.page.leases();
        let (growth, size) = {
            let mut pool = self.pool();
            if pool.unsealed_only && !client.identity.takes_unsealed {
                return Err(Error::Refused {
                    reason: UNSEALED_ONLY.into(),
                    retryable: false,
                });
            }
            let needed = pool.needed(0, leases);
            let limit = pool.limit();
            if needed > limit {
                return Err(Error::Refused {
                    reason: format!(
                        "a client with max-leases={leases} more needs {needed} slots in all, \
                         and max-buffers allows {limit}: raise max-buffers of the producer, \
                         or lower max-leases of the client"
                    ),
                    retryable: true,
                });
            }
            if let Some((segment, stride)) = &made {
                pool.add_segment(segment, *stride);
            }
            let missing = needed.saturating_sub(pool.count());
            if missing == 0 || pool.slot_size() == 0 {
                // Under the same lock: no other client can count on these slots.
                let joining = pool.add_client(client);
                drop(pool);
                self.event.signal();
                return Ok(Step::Joined(joining));
            }
            let (least, most) = pool.growth(leases);
            let left = limit.saturating_sub(pool.count() + coming.slots);
            if least > left || coming.is_soon {
                let slots = None;
                return Ok(Step::More(Admission { client, slots }));
            }
            ((least, most.min(left)), pool.slot_size())
        };
        let slots = Some(self.start_slots(size, growth)?);
        Ok(Step::More(Admission { client, slots }))
    }

    /// Slots as of [`make_slots`](Writer::make_slots), but that memory is left for others.
    fn start_slots(
        &self,
        size: usize,
        (least, most): (u32, u32),
    ) -> Result<(UnfinishedSegment, u32)> {
        let (id, count) = self.make_room(size, most);
        if count == 0 {
            return Err(Error::Refused {
                reason: "the producer has no slot numbers left now".into(),
                retryable: true,
            });
        }
        let start = |count: u32| {
            limits::check_memory_for_others(size.saturating_mul(count as usize))?;
            let slots = UnfinishedSegment::start(id, size, count as usize)?;
            Ok((slots, count))
        };
        match start(count) {
            Err(Error::ResourceExhausted { .. }) if least < count => start(least),
            other => other,
        }
    }

    pub(crate) fn remove_client(&self, id: ClientId) {
        self.pool().clients.remove(id);
        self.watchers.forget(id);
        self.event.signal();
    }

    /// Nobody waits for this client any more; what it holds stays its own.
    pub(crate) fn expel_client(&self, id: ClientId) {
        self.pool().clients.expel(id);
        self.event.signal();
    }

    /// Gives up waiting for clients that have made no progress for as long as `overflow` says, and
    /// tells of them. Returns until when to wait for the others; `None` where some were given up.
    pub(super) fn lapse(&self) -> Option<Deadline> {
        let Overflow::Block { timeout } = self.overflow else {
            unreachable!("only a blocking acquire is blocked");
        };
        let now = clock::monotonic();
        let (lapsed, next) = self.pool().lapse(now, timeout);
        for client in &lapsed {
            self.tell(PublisherEvent::ClientLapsed {
                client: client.id,
                stalled: client.stalled,
                held: client.held,
                behind: client.behind,
            });
        }
        // Without either, what the writer waited for has come by now.
        lapsed.is_empty().then(|| Deadline::at(next.unwrap_or(now)))
    }

    /// Waits until there are `count` clients.
    pub(crate) fn wait_for_clients(
        &self,
        count: usize,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<()> {
        self.check_origin()?;
        let deadline = Deadline::after(timeout);
        loop {
            let cancelled = cancel.wait()?;
            let event = self.event.since(self.event.snapshot());
            {
                let pool = self.pool();
                if pool.closed {
                    return Err(self.failure.error());
                }
                if pool.clients.len() >= count {
                    return Ok(());
                }
            }
            futex::wait_any(&[event, cancelled], deadline)?;
        }
    }
}
