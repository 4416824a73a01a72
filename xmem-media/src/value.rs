//! Values: what caps, tags, structures and metas consist of.

mod any;
mod body;
mod buffer;
mod caps;
mod codec;
mod features;
mod number;
mod sample;
mod structure;
mod table;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod typed;
mod types;

pub use buffer::Buffer;
pub use features::Features;
pub use number::{DoubleRange, Fraction, FractionRange, IntRange, Range};
pub use text::Text;
pub use time::{Date, DateTime, EpochTime, Precision};
pub use typed::{EnumValue, FlagSet, FlagsValue};
pub use types::{Caps, FromValue, Sample, Structure, TagList, Unknown, Value, Values};
