//! A value that goes with a frame, and uses the publisher when it is dropped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use xmem_core::cuda::{Device, Work};
use xmem_core::{Channel, EventKind, Frame, FrameMut, Publisher, Subscriber};
use xmem_tests::Line;

use super::Result;

/// What was tried in the drop, and how it ended.
#[derive(Clone, Default)]
pub struct Acted(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Acted {
    fn add(&self, what: &'static str, how: String) {
        let mut acted = self.0.lock().expect("no thread has panicked");
        acted.push((what, how));
    }

    /// One field for each thing that was tried.
    pub fn report(&self) -> Line {
        let acted = self.0.lock().expect("no thread has panicked");
        let all = acted.iter();
        all.fold(Line::default(), |line, (what, how)| {
            line.with(what, how.replace(' ', "_"))
        })
    }
}

pub struct Acting {
    publisher: Arc<Publisher>,
    device: Device,
    /// A slot each for `publish` and `publish_after`.
    slots: Option<[FrameMut; 2]>,
    acted: Acted,
    _frame: Frame,
}

impl Acting {
    /// Imports the next frame of a channel, with such a value, and publishes it.
    pub fn import(
        from: &str,
        publisher: &Arc<Publisher>,
        device: &Device,
        acted: &Acted,
    ) -> Result<()> {
        let mut subscriber = Subscriber::builder(Channel::name(from)).connect()?;
        let frame = subscriber.receive(Some(Duration::from_secs(60)))?;
        let memory = frame.memory().ok_or("memory without a descriptor")?;
        let range = frame.offset()..frame.offset() + frame.meta().size() as usize;
        let slots = [
            publisher.acquire(range.len())?,
            publisher.acquire(range.len())?,
        ];
        let acting = Acting {
            publisher: publisher.clone(),
            device: device.clone(),
            slots: Some(slots),
            acted: acted.clone(),
            _frame: frame,
        };
        publisher.import_frame(&memory, range, acting)?.publish()?;
        Ok(())
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or("none").to_owned();
        self.acted.add("thread", name);
        let said = |said: xmem_core::Result<()>| {
            said.map_or_else(|error| error.to_string(), |()| "ok".into())
        };
        let Some([one, other]) = self.slots.take() else {
            return;
        };
        self.acted.add("publish", said(one.publish().map(drop)));
        let after = other.publish_after(&Work::default_stream(&self.device));
        let after = after.map_err(|unpublished| unpublished.reason);
        self.acted.add("publish_after", said(after));
        let event = self.publisher.send_event(EventKind::Passing, b"dropped");
        self.acted.add("event", said(event));
        let flush = self.publisher.send_event(EventKind::Flush, &[]);
        self.acted.add("flush", said(flush));
        self.publisher.close();
        self.acted.add("close", "ok".into());
    }
}
