//! Waiting for the events of a publisher.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use xmem_core::PublisherEvent;

use crate::wait::PATIENCE;

/// The events of one publisher, in their order.
#[derive(Debug)]
pub struct Events(Receiver<PublisherEvent>);

impl Events {
    /// The events, and the callback for `PublisherBuilder::on_event`.
    pub fn new() -> (Events, impl Fn(PublisherEvent) + Send + Sync + 'static) {
        let (sender, receiver): (Sender<PublisherEvent>, _) = channel();
        let observer = move |event| {
            // At the end of a test the receiver is gone.
            let _ = sender.send(event);
        };
        (Events(receiver), observer)
    }

    /// Waits for an event that `look` accepts, and returns its result.
    ///
    /// # Panics
    /// If no event is accepted in time.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&PublisherEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.0.recv_timeout(left) else {
                panic!("within {PATIENCE:?}: no event {what}, but {others:?}");
            };
            if let Some(found) = look(&event) {
                return found;
            }
            others.push(event);
        }
    }

    /// The events that no call has consumed.
    pub fn drain(&self) -> Vec<PublisherEvent> {
        self.0.try_iter().collect()
    }
}
