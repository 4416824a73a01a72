//! Joining a channel, and telling a user that waits without an end why that takes so long.

use std::time::Duration;

use xmem_core::{Cancellation, Error, Result, Subscriber};

use super::super::{Delivery, XmemSrc};
use super::{Change, FIRST_BACKLOG, Receiver};

/// After that the user is told.
const PATIENCE: Duration = Duration::from_secs(5);

impl Receiver {
    /// Waits for a producer, and joins its channel.
    ///
    /// # Errors
    /// Those of [`Subscriber`]. Without a timeout neither that there is no producer, nor, if the source
    /// `insists`, that there is no room: of that a warning tells, once.
    pub(super) fn connect(
        &mut self,
        element: &XmemSrc,
        timeout: Option<Duration>,
        insists: bool,
        cancel: &Cancellation<'_>,
    ) -> Result<Subscriber> {
        if timeout.is_some() || !insists {
            return self.try_to_connect(timeout, insists, cancel);
        }
        loop {
            match self.try_to_connect(Some(PATIENCE), insists, cancel) {
                Err(Error::NoProducer { .. } | Error::NoAnswer { .. }) => {}
                Err(
                    error @ (Error::Refused {
                        retryable: true, ..
                    }
                    | Error::ResourceExhausted { .. }),
                ) => {
                    if !std::mem::replace(&mut self.has_told_refusal, true) {
                        gst::element_warning!(
                            element,
                            gst::ResourceError::Busy,
                            ("Not connected yet: {error}. Trying again until there is room, since \
                              connection-timeout is -1")
                        );
                    }
                }
                other => return other,
            }
        }
    }

    fn try_to_connect(
        &self,
        timeout: Option<Duration>,
        insists: bool,
        cancel: &Cancellation<'_>,
    ) -> Result<Subscriber> {
        Subscriber::builder(self.channel.clone())
            .name(&self.name)
            .leases(self.keeping.restart())
            .first_backlog(FIRST_BACKLOG)
            .delivery(match self.wanted.delivery {
                Delivery::InOrder => xmem_core::Delivery::InOrder,
                Delivery::Latest => xmem_core::Delivery::Latest,
            })
            .unsealed_memory(self.wanted.unsealed_memory.into())
            .connect_timeout(timeout)
            .retry_refused(insists)
            .canceller(self.canceller.clone())
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
                let urgent = self.urgent.clone();
                move |event| urgent.tell(event)
            })
            .connect_cancellable(cancel)
    }
}
