//! GStreamer's values to and from those of `xmem-media`, whose bytes cross between processes.
//!
//! Nothing here reads or writes bytes: `xmem-media` does that, and these modules convert what it has
//! checked. They decide what only this process knows: which types it has, and which names it may learn
//! ([`Names`]).

use gst::glib;
use gst::glib::translate::IntoGlib;
use gst::glib::value::SendValue;
pub(crate) use xmem_media::{DecodeError, Decoder, Encoder};

pub(crate) mod from_gst;
mod names;
#[cfg(test)]
mod tests;
pub(crate) mod to_gst;
mod untyped;

pub(crate) use names::{Names, Told};
pub(crate) use to_gst::Rules;

type Result<T> = std::result::Result<T, DecodeError>;

/// The one of these that has this number.
pub(crate) fn one_of<T: Copy + IntoGlib<GlibType = i32>>(all: &[T], number: i32) -> Result<T> {
    let one = all.iter().find(|one| one.into_glib() == number);
    one.copied()
        .ok_or(DecodeError::Invalid("a number of no known meaning"))
}

/// Whether a value is a string that is empty or none, which GStreamer takes for no tag.
fn is_empty_string(value: &SendValue) -> bool {
    value.type_() == glib::Type::STRING
        && untyped::string(value).is_ok_and(|text| text.is_none_or(str::is_empty))
}
