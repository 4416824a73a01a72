//! Clients: waited for, done without.

use std::time::Duration;

use super::{Overflow, PublisherEvent, Writer};
use crate::cancel::Cancellation;
use crate::clients::ClientId;
use crate::error::Result;
use crate::sys::clock::{self, Deadline};
use crate::sys::futex;

impl Writer {
    pub(crate) fn remove_client(&self, id: ClientId) {
        self.with_pool(|pool| {
            pool.clients.remove(id);
            pool.assign();
        });
        self.watchers.forget(id);
        self.wake_word.signal();
    }

    /// The writer waits for this client no longer. The client keeps what it holds.
    pub(crate) fn evict_client(&self, id: ClientId) {
        self.with_pool(|pool| pool.clients.evict(id));
        self.wake_word.signal();
    }

    /// Gives up waiting for clients that have made no progress for as long as `overflow` says, and
    /// tells of them. Returns until when to wait for the others; `None` where some were given up.
    pub(super) fn mark_lagging(&self) -> Option<Deadline> {
        let Overflow::Block { timeout } = self.overflow else {
            unreachable!("only a blocking acquire is blocked");
        };
        let now = clock::monotonic();
        let (lagging, next) = self.with_pool(|pool| pool.mark_lagging(now, timeout));
        for client in &lagging {
            self.tell(PublisherEvent::ClientLagging {
                client: client.id,
                stalled: client.stalled,
                held: client.held,
                behind: client.behind,
            });
        }
        // Without either, what the writer waited for has come by now.
        lagging
            .is_empty()
            .then(|| Deadline::at(next.unwrap_or(now)))
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
            let signal = self.wake_word.since(self.wake_word.snapshot());
            let (closed, there) = self.with_pool(|pool| (pool.closed, pool.clients.len()));
            if closed {
                return Err(self.failure.error());
            }
            if there >= count {
                return Ok(());
            }
            futex::wait_any(&[signal, cancelled], deadline)?;
        }
    }
}
