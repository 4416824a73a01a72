//! What the frames of an xmem channel mean, without GStreamer.
//!
//! `xmem-core` carries the format of a stream as bytes and does not look inside. This crate gives
//! these bytes their meaning: [`Caps`], which describe the frames; [`event`]s, which are said between
//! them; [`meta`]s, which stand beside the bytes of a frame; [`video`], which says where the planes of a
//! picture lie; and the [`Value`]s that all consist of. The GStreamer elements write the same bytes, so a program that knows no
//! GStreamer can talk to a pipeline:
//!
//! ```
//! use xmem_media::{Caps, Fraction};
//!
//! // What a producer sets as the format of its frames.
//! let caps: Caps = "video/x-raw, format=RGB, width=640, height=480, framerate=30/1".parse()?;
//! let format = caps.to_bytes()?;
//!
//! // What a client makes of it.
//! let received = Caps::from_bytes(&format)?;
//! let video = received.structure(0).unwrap();
//! assert_eq!(video.name(), "video/x-raw");
//! assert_eq!(video.get::<i32>("width"), Some(640));
//! assert_eq!(video.get::<Fraction>("framerate"), Some(Fraction::new(30, 1)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Values are checked when they are made: what cannot cross cannot be constructed. Bytes come from
//! other processes: [`Decoder`] trusts none of them, and keeps the [`limits`]. A value of a kind that
//! this version does not know is a [`Value::Unknown`], and is written again as it was.

#![forbid(unsafe_code)]

mod decoder;
mod encoder;
mod error;
pub mod event;
mod field;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod limits;
pub mod meta;
mod names;
mod text;
pub mod value;
pub mod video;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{DecodeError, InvalidValue};
pub use field::Field;
pub use names::{is_feature_name, is_structure_name};
pub use text::ParseError;
pub use value::{Caps, Features, Fraction, Structure, TagList, Value};
pub use video::{VideoFormat, VideoInfo, VideoLayout};
