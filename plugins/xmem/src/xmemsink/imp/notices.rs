//! What the element reports of its channel.

use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::PublisherEvent;

use super::XmemSink;
use crate::errors;
use crate::log::CAT;

impl XmemSink {
    /// Reports an event of the channel. Called from the control thread with no lock held, or from
    /// the streaming thread while it publishes.
    pub(super) fn on_event(&self, event: PublisherEvent) {
        let obj = self.obj();
        match event {
            PublisherEvent::ClientConnected(id) => {
                gst::info!(CAT, imp = self, "Client {id} has connected");
                self.size_is_due.store(true, Ordering::Relaxed);
                obj.emit_by_name::<()>("client-connected", &[&(id.get() as i32)]);
                obj.notify("num-clients");
            }
            PublisherEvent::ClientDisconnected(id) => {
                gst::info!(CAT, imp = self, "Client {id} has disconnected");
                obj.emit_by_name::<()>("client-disconnected", &[&(id.get() as i32)]);
                obj.notify("num-clients");
            }
            PublisherEvent::ClientRefused { pid, reason } => {
                let (pid, reason) = (pid.unwrap_or(0), errors::refused(&reason));
                gst::warning!(CAT, imp = self, "Refused process {pid}: {reason}");
            }
            PublisherEvent::ClientLagging {
                client,
                stalled,
                held,
                behind,
            } => {
                // The streaming thread calls this while it has a lock.
                obj.call_async(move |sink| {
                    gst::element_warning!(
                        sink,
                        gst::ResourceError::Busy,
                        ("Client {client} has neither received nor released a frame for \
                             {stalled:.1?}. It holds {held} frames and has {behind} frames to \
                             receive. xmemsink no longer waits for it, so it may miss frames until \
                             it has caught up. Raise block-timeout, or make the client faster.")
                    );
                });
            }
            PublisherEvent::ClientCaughtUp(id) => {
                gst::info!(CAT, imp = self, "Client {id} has caught up");
            }
            PublisherEvent::Upstream { uid, content, .. } => {
                if let Some(stream) = self.stream() {
                    stream.forwarder.forward(uid, content);
                }
            }
            _ => {}
        }
    }
}
