//! Speaking to the producer.

use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::link::Link;
use crate::message::MAX_UPSTREAM;
use crate::quota::Quota;

/// Speaks to the producer of a subscriber, from any thread.
#[derive(Clone, Debug)]
pub struct UpstreamSender {
    /// Keeps nothing alive: the connection ends with the subscriber and its frames.
    link: Weak<Link>,
    clock_offset: i64,
}

impl UpstreamSender {
    pub(super) fn new(link: &Arc<Link>) -> UpstreamSender {
        UpstreamSender {
            link: Arc::downgrade(link),
            clock_offset: link.clock_offset,
        }
    }

    /// As [`Subscriber::clock_offset`](crate::Subscriber::clock_offset).
    pub fn clock_offset(&self) -> i64 {
        self.clock_offset
    }

    /// Asks the producer for another quota. What it grants,
    /// [`SubscriberBuilder::on_granted`](crate::SubscriberBuilder::on_granted) is told, and
    /// [`Subscriber::granted`](crate::Subscriber::granted) tells. Leases of frames that are held stay
    /// until the next request. It never waits: false where the producer is gone, or takes no more now.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for a quota that is not possible, [`Error::Forked`].
    pub fn request(&self, quota: Quota) -> Result<bool> {
        match self.link.upgrade() {
            Some(link) => link.request(quota),
            None => Ok(false),
        }
    }

    /// What was asked for last; none where the connection is gone.
    pub fn requested(&self) -> Option<Quota> {
        self.link.upgrade().map(|link| link.wanted())
    }

    /// Sends some bytes to the producer, which is told with
    /// [`PublisherEvent::Upstream`](crate::PublisherEvent::Upstream). It never waits: false where the
    /// producer is gone, or takes no more now.
    ///
    /// # Errors
    /// [`Error::TooLong`] for more than 32,760 bytes, [`Error::Forked`].
    pub fn send(&self, content: &[u8]) -> Result<bool> {
        Error::check_length("what is sent to the producer", content.len(), MAX_UPSTREAM)?;
        match self.link.upgrade() {
            Some(link) => link.send_upstream(content),
            None => Ok(false),
        }
    }
}
