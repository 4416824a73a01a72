//! Connects to a channel. Tells the user why that takes long, if it has no time limit.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_base::BaseSrc;
use xmem_core::{Cancellation, Error, Result, Subscriber};

use super::super::cuda::is_taken;
use super::super::settings::Delivery;
use super::{Change, FIRST_BACKLOG, Receiver};
use crate::errors;

/// The time after which the user is told.
const TELL_AFTER: Duration = Duration::from_secs(5);

impl Receiver {
    /// Waits for a producer, and connects. If the wait has no time limit, the user is told why
    /// there is no room, once a run.
    pub(super) fn connect(
        &self,
        element: &BaseSrc,
        timeout: Option<Duration>,
        insists: bool,
        cancel: &Cancellation<'_>,
    ) -> Result<Subscriber> {
        let takes_cuda = is_taken(element);
        let (element, begun) = (element.downgrade(), Instant::now());
        let has_told = self.has_told_refusal.clone();
        let tell = move |error: &Error| {
            let is_due = timeout.is_none() && begun.elapsed() >= TELL_AFTER;
            // Relaxed: only this thread uses it.
            if is_due
                && !has_told.swap(true, Ordering::Relaxed)
                && let Some(element) = element.upgrade()
            {
                gst::element_warning!(
                    element,
                    gst::ResourceError::Busy,
                    (
                        "Not connected yet: {}. Trying again until there is room, because \
                         connection-timeout is -1",
                        errors::text(error)
                    )
                );
            }
        };
        Subscriber::builder(self.channel.clone())
            .name(&self.name)
            .leases(self.keeping.restart())
            .first_backlog(FIRST_BACKLOG)
            .delivery(match self.settings.delivery {
                Delivery::InOrder => xmem_core::Delivery::InOrder,
                Delivery::Latest => xmem_core::Delivery::Latest,
            })
            .unsealed_memory(self.settings.unsealed_memory.into())
            .device_memory(takes_cuda)
            .connect_timeout(timeout)
            .retry_refused(insists)
            .canceller(self.canceller.clone())
            .on_refused(tell)
            .on_starved({
                let observer = self.observer.clone();
                move || observer(Change::Starved)
            })
            .on_granted({
                let (keeping, observer) = (self.keeping.clone(), self.observer.clone());
                move |grant| {
                    if keeping.take_grant(grant) {
                        observer(Change::Covered);
                    }
                }
            })
            .on_urgent({
                let out_of_band = self.out_of_band.clone();
                move |event| out_of_band.tell(event)
            })
            .connect_cancellable(cancel)
    }
}
