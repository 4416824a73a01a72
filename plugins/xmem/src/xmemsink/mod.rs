//! `xmemsink`: publishes the stream on a channel.

use gst::glib;
use gst::prelude::*;

mod imp;
mod preroll;
mod settings;
mod stream;

glib::wrapper! {
    /// The sink element.
    pub struct XmemSink(ObjectSubclass<imp::XmemSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// What the sink does when a client has yet to receive the frame whose slot is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSinkOverflow")]
pub(crate) enum Overflow {
    /// Takes the oldest frame's slot: slow clients miss frames.
    #[default]
    #[enum_value(
        name = "Take the oldest frame's slot: slow clients miss frames, the sink never waits",
        nick = "drop-oldest"
    )]
    DropOldest,
    /// Waits for the client, at most `block-timeout`.
    #[enum_value(
        name = "Wait until every in-order client has the frame, at most block-timeout",
        nick = "block"
    )]
    Block,
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "xmemsink",
        gst::Rank::NONE,
        XmemSink::static_type(),
    )
}
