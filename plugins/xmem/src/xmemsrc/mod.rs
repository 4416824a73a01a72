//! `xmemsrc`: receives the stream of a channel.

use gst::glib;
use gst::prelude::*;

mod imp;
mod receiver;
mod settings;

glib::wrapper! {
    /// The source element.
    pub struct XmemSrc(ObjectSubclass<imp::XmemSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// What the source does when its producer stops or crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcOnDisconnect")]
pub(crate) enum OnDisconnect {
    /// Posts an error.
    #[default]
    #[enum_value(name = "Post an error", nick = "error")]
    Error,
    /// Ends the stream.
    #[enum_value(name = "End the stream", nick = "eos")]
    Eos,
    /// Waits for the next producer.
    #[enum_value(
        name = "Wait for the next producer, at most connection-timeout",
        nick = "reconnect"
    )]
    Reconnect,
}

/// Which frames the source receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcDelivery")]
pub(crate) enum Delivery {
    /// Every frame.
    #[default]
    #[enum_value(name = "Every frame, in order", nick = "in-order")]
    InOrder,
    /// The newest frame.
    #[enum_value(name = "The newest frame, skipping those before it", nick = "latest")]
    Latest,
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "xmemsrc",
        gst::Rank::NONE,
        XmemSrc::static_type(),
    )
}
