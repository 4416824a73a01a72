//! Values: what caps, tags, structures and metas consist of.

mod any;
mod buffer;
mod caps;
mod codec;
mod convert;
mod features;
mod kind;
mod number;
mod sample;
mod structure;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod typed;
mod types;

pub use buffer::Buffer;
pub use convert::FromValue;
pub use features::Features;
pub use number::{DoubleRange, Fraction, FractionRange, IntRange, Range};
pub use text::Text;
pub use time::{Date, DateTime, EpochTime, Precision};
pub use typed::{EnumValue, FlagSet, FlagsValue};
pub use types::{Caps, Sample, Structure, TagList, Unknown, Value, Values};
