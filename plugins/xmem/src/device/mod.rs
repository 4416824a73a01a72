//! Channels as devices, for `gst-device-monitor-1.0` and for applications in which a user selects a
//! camera. Each channel that has a producer is a device.

use gst::prelude::*;
use xmem_core::LiveChannel;

mod channel;
mod provider;

glib::wrapper! {
    /// A channel that has a producer.
    pub struct XmemDevice(ObjectSubclass<channel::XmemDevice>)
        @extends gst::Device, gst::Object;
}

glib::wrapper! {
    /// Lists the channels that have a producer, and reports changes.
    pub struct XmemDeviceProvider(ObjectSubclass<provider::XmemDeviceProvider>)
        @extends gst::DeviceProvider, gst::Object;
}

impl XmemDevice {
    fn new(channel: &LiveChannel) -> XmemDevice {
        channel::make(channel)
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::DeviceProvider::register(
        Some(plugin),
        "xmemdeviceprovider",
        gst::Rank::PRIMARY,
        XmemDeviceProvider::static_type(),
    )
}
