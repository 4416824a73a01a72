//! The list of channels that have a producer, and a thread that keeps it while an application wants
//! to be told of changes.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, ChannelChange, ChannelMonitor, Error};

use super::XmemDevice;
use crate::CAT;

/// Between two tries of a monitor that has failed, for want of descriptors for example.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct XmemDeviceProvider {
    /// There from start to stop.
    watching: Mutex<Option<Watching>>,
}

struct Watching {
    canceller: Canceller,
    thread: JoinHandle<()>,
}

/// The devices that an application was told of.
struct Devices {
    monitor: ChannelMonitor,
    told: BTreeMap<String, XmemDevice>,
}

impl Devices {
    /// Waits for changes, and tells them.
    fn update(
        &mut self,
        timeout: Option<Duration>,
        provider: impl Fn() -> Option<super::XmemDeviceProvider>,
    ) -> xmem_core::Result<()> {
        let changes = self.monitor.changes(timeout)?;
        let Some(provider) = provider() else {
            return Err(Error::Cancelled);
        };
        for change in changes {
            match change {
                ChannelChange::Appeared(channel) => {
                    let device = XmemDevice::new(&channel);
                    provider.device_add(&device);
                    self.told.insert(channel.name, device);
                }
                ChannelChange::Changed { now, .. } => {
                    let device = XmemDevice::new(&now);
                    let Some(before) = self.told.insert(now.name, device.clone()) else {
                        continue;
                    };
                    if before.device_class() == device.device_class() {
                        provider.device_changed(&device, &before);
                    } else {
                        // Who wants sources of pictures alone was not told of one without caps.
                        provider.device_remove(&before);
                        provider.device_add(&device);
                    }
                }
                ChannelChange::Gone(channel) => {
                    if let Some(device) = self.told.remove(&channel.name) {
                        provider.device_remove(&device);
                    }
                }
            }
        }
        Ok(())
    }
}

impl XmemDeviceProvider {
    fn watching(&self) -> std::sync::MutexGuard<'_, Option<Watching>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread.
    fn end(&self) {
        // Not under the lock: the thread ends first.
        let watching = self.watching().take();
        let Some(Watching { canceller, thread }) = watching else {
            return;
        };
        canceller.cancel();
        // The thread itself may have had the last reference.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemDeviceProvider {
    const NAME: &'static str = "GstXmemDeviceProvider";
    type Type = super::XmemDeviceProvider;
    type ParentType = gst::DeviceProvider;
}

impl ObjectImpl for XmemDeviceProvider {
    fn dispose(&self) {
        self.end();
    }
}

impl GstObjectImpl for XmemDeviceProvider {}

impl DeviceProviderImpl for XmemDeviceProvider {
    fn metadata() -> Option<&'static gst::subclass::DeviceProviderMetadata> {
        static METADATA: LazyLock<gst::subclass::DeviceProviderMetadata> = LazyLock::new(|| {
            gst::subclass::DeviceProviderMetadata::new(
                "Shared memory channels",
                // All that a channel can be: applications ask for providers of one of these.
                "Source/Video/Audio",
                "Lists the channels of this user that an xmemsink publishes now",
                "The xmem developers",
            )
        });
        Some(&METADATA)
    }

    fn probe(&self) -> Vec<gst::Device> {
        let mut monitor = ChannelMonitor::new(Canceller::new());
        let changes = monitor.changes(Some(Duration::ZERO));
        let changes = changes.unwrap_or_else(|error| {
            gst::warning!(CAT, imp = self, "Can't list the channels: {error}");
            Vec::new()
        });
        let devices = changes.iter().filter_map(|change| match change {
            ChannelChange::Appeared(channel) => Some(XmemDevice::new(channel).upcast()),
            _ => None,
        });
        devices.collect()
    }

    fn start(&self) -> Result<(), gst::LoggableError> {
        let canceller = Canceller::new();
        let mut devices = Devices {
            monitor: ChannelMonitor::new(canceller.clone()),
            told: BTreeMap::new(),
        };
        // Who starts it and looks at once finds those that there are.
        devices
            .update(Some(Duration::ZERO), || Some(self.obj().clone()))
            .map_err(|error| gst::loggable_error!(CAT, "Can't list the channels: {error}"))?;
        let weak = self.obj().downgrade();
        let cancelled = canceller.clone();
        let thread = std::thread::Builder::new()
            .name("xmem-devices".into())
            .spawn(move || {
                loop {
                    match devices.update(None, || weak.upgrade()) {
                        Ok(()) => {}
                        Err(Error::Cancelled) => return,
                        Err(error) => {
                            gst::warning!(CAT, "Can't list the channels: {error}");
                            let begun = cancelled.begin();
                            if begun.and_then(|begun| begun.pause(FAILED_PAUSE)).is_err() {
                                return;
                            }
                        }
                    }
                }
            })
            .map_err(|error| gst::loggable_error!(CAT, "No thread for the list: {error}"))?;
        *self.watching() = Some(Watching { canceller, thread });
        Ok(())
    }

    fn stop(&self) {
        self.end();
    }
}
