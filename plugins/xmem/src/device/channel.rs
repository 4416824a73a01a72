//! A channel as a `GstDevice`: its properties, and the element that receives it.

use std::sync::OnceLock;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::LiveChannel;

use crate::caps::Format;
use crate::channel::ChannelSettings;
use crate::log::CAT;
use crate::values::Names;
use crate::xmemsrc::XmemSrc;

#[derive(Default)]
pub struct XmemDevice {
    /// The channel's name.
    channel: OnceLock<String>,
}

/// Makes the device of a channel.
pub(super) fn make(channel: &LiveChannel) -> super::XmemDevice {
    let names = Names::of_user(channel.uid);
    let format = channel.format.as_deref();
    let caps = format.and_then(|bytes| match Format::from_bytes(bytes, names) {
        Ok((caps, _)) => Some(caps),
        Err(why) => {
            gst::info!(
                CAT,
                "Cannot read the caps of channel {}: {why}",
                channel.name
            );
            None
        }
    });
    let caps = caps.unwrap_or_else(gst::Caps::new_any);
    let path = channel.socket_path.to_string_lossy();
    let properties = gst::Structure::builder("xmem-properties")
        .field("device.api", "xmem")
        .field("channel", &channel.name)
        .field("socket-path", path.as_ref())
        .field("producer-pid", channel.pid.unwrap_or(0))
        .field("producer-uid", channel.uid)
        .build();
    let device: super::XmemDevice = glib::Object::builder()
        .property("display-name", format!("{} (xmem)", channel.name))
        .property("device-class", class(&caps))
        .property("caps", &caps)
        .property("properties", &properties)
        .build();
    let _ = device.imp().channel.set(channel.name.clone());
    device
}

/// Returns the device class, by which applications find video and audio sources.
fn class(caps: &gst::Caps) -> &'static str {
    let kind = caps.structure(0).map_or("", |structure| structure.name());
    match kind.split('/').next() {
        Some("video" | "image") => "Source/Video",
        Some("audio") => "Source/Audio",
        _ => "Source",
    }
}

impl XmemDevice {
    fn settings(&self) -> ChannelSettings {
        ChannelSettings {
            channel: self.channel.get().cloned(),
            socket_path: None,
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemDevice {
    const NAME: &'static str = "GstXmemDevice";
    type Type = super::XmemDevice;
    type ParentType = gst::Device;
}

impl ObjectImpl for XmemDevice {}

impl GstObjectImpl for XmemDevice {}

impl DeviceImpl for XmemDevice {
    fn create_element(&self, name: Option<&str>) -> Result<gst::Element, gst::LoggableError> {
        let element = gst::ElementFactory::make("xmemsrc").name_if_some(name);
        let element = element
            .build()
            .map_err(|error| gst::loggable_error!(CAT, "Cannot create xmemsrc: {error}"))?;
        self.reconfigure_element(&element)?;
        Ok(element)
    }

    fn reconfigure_element(&self, element: &gst::Element) -> Result<(), gst::LoggableError> {
        let Some(source) = element.downcast_ref::<XmemSrc>() else {
            let name = element.name();
            return Err(gst::loggable_error!(CAT, "{name} is not an xmemsrc"));
        };
        source
            .set_channel(self.settings())
            .map_err(|why| gst::loggable_error!(CAT, "{why}"))
    }
}
