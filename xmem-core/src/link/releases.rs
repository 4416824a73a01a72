//! Leases that are given back when the device has done the work that reads their frames.

use std::sync::Arc;

use super::leases::Held;
use super::{End, Link};
use crate::cuda::completion::{self, Completions, Owner};
use crate::cuda::{Event, Work};
use crate::error::{CudaError, Result};
use crate::segment::PayloadSegment;

impl Owner for Link {
    type Item = Held;

    fn completions(&self) -> &Completions<Held> {
        &self.releases
    }

    fn complete(&self, Held { lease, segment }: Held, work: std::result::Result<(), CudaError>) {
        self.release(lease);
        drop(segment);
        if let Err(error) = work {
            // Nothing in that context runs any more, so the frame is not read. Nor can others be.
            self.finish(End::Cuda(error));
        }
    }
}

impl Link {
    /// Gives a lease back when the device has done the work.
    ///
    /// # Errors
    /// Where the device has failed. The lease ends with the connection then.
    pub(crate) fn release_after(
        self: &Arc<Self>,
        work: &Work<'_>,
        lease: u16,
        segment: Arc<PayloadSegment>,
    ) -> Result<()> {
        let event = match self.releases.record(work) {
            Ok(event) => event,
            Err(_) => {
                // Without an event this thread has to wait: the work may still read the frame.
                if let Err(error) = work.wait() {
                    // Nor is it known when it ends. The lease ends with the connection.
                    self.finish(End::Cuda(error.clone()));
                    return Err(error.into());
                }
                self.release(lease);
                return Ok(());
            }
        };
        if matches!(event.is_done(), Ok(true)) {
            self.releases.keep(event);
            self.release(lease);
            return Ok(());
        }
        let queued = completion::queue(self, Some(event), Held { lease, segment });
        if let Err(refused) = queued {
            // Without a thread this one has to wait.
            let waited = refused.after.as_ref().map_or(Ok(()), Event::wait);
            self.complete(refused.item, waited);
        }
        Ok(())
    }
}
