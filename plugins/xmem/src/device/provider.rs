//! The list of channels that have a producer, and a thread that updates it while an application
//! monitors it.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, ChannelChange, ChannelMonitor, Error};

use super::XmemDevice;
use crate::log::CAT;

/// The pause before the next try after a monitor has failed, for example for lack of descriptors.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct XmemDeviceProvider {
    /// Set from `start` to `stop`.
    watching: Mutex<Option<Watching>>,
}

struct Watching {
    canceller: Canceller,
    thread: JoinHandle<()>,
}

/// The devices that the provider has added.
struct Devices {
    monitor: ChannelMonitor,
    told: BTreeMap<String, XmemDevice>,
}

impl Devices {
    /// Waits for changes and reports them.
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
                        // The class changes when the caps become known. A monitor that filters for
                        // Source/Video has not seen the device yet, so a change is not enough.
                        provider.device_remove(&before);
                        provider.device_add(&device);
                    }
                }
                ChannelChange::Gone(channel) => {
                    if let Some(device) = self.told.remove(&channel.name) {
                        provider.device_remove(&device);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl XmemDeviceProvider {
    fn watching(&self) -> std::sync::MutexGuard<'_, Option<Watching>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the thread.
    fn end(&self) {
        // Take it out first: the lock is not held while the thread is joined.
        let watching = self.watching().take();
        let Some(Watching { canceller, thread }) = watching else {
            return;
        };
        canceller.cancel();
        // The thread may have dropped the last reference to the provider, and then runs this
        // itself.
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
                // All classes that a channel can have. Applications select providers by them.
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
            gst::warning!(CAT, imp = self, "Cannot list the channels: {error}");
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
        // An application that lists the devices directly after `start` finds the present channels.
        devices
            .update(Some(Duration::ZERO), || Some(self.obj().clone()))
            .map_err(|error| gst::loggable_error!(CAT, "Cannot list the channels: {error}"))?;
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
                            gst::warning!(CAT, "Cannot list the channels: {error}");
                            let begun = cancelled.begin();
                            if begun.and_then(|begun| begun.pause(FAILED_PAUSE)).is_err() {
                                return;
                            }
                        }
                    }
                }
            })
            .map_err(|error| {
                gst::loggable_error!(CAT, "Cannot create the thread that lists channels: {error}")
            })?;
        *self.watching() = Some(Watching { canceller, thread });
        Ok(())
    }

    fn stop(&self) {
        self.end();
    }
}
