//! GStreamer's values to and from those of `xmem-media`, whose bytes cross between processes.
//!
//! Nothing here reads or writes bytes: `xmem-media` does that, and these modules convert what it has
//! checked. They decide what only this process knows: which types it has, and which names it may learn
//! ([`Names`]).

use glib::translate::IntoGlib;
pub(crate) use xmem_media::{DecodeError, Decoder, Encoder};

pub(crate) mod from_gst;
mod names;
#[cfg(test)]
mod tests;
pub(crate) mod to_gst;
mod untyped;

pub(crate) use names::{Names, Told};
pub(crate) use to_gst::Rules;

/// The one of these that has this number.
pub(crate) fn one_of<T: Copy + IntoGlib<GlibType = i32>>(
    all: &[T],
    number: i32,
) -> Result<T, DecodeError> {
    let one = all.iter().find(|one| one.into_glib() == number);
    one.copied()
        .ok_or(DecodeError::Invalid("a number of no known meaning"))
}
