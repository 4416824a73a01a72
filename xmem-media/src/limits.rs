//! The limits that every encoder and decoder keeps. They are part of the protocol.

/// Most records within one another. The records of a value are counted apart from those around it.
pub const MAX_DEPTH: u32 = 16;
/// Most values that one encoder writes and one decoder reads, nested ones included: a value takes
/// more memory than its bytes.
pub const MAX_VALUES: u32 = 1 << 16;
/// Most fields of a structure, and most tags of a list: GStreamer searches all of them before it
/// adds another.
pub const MAX_FIELDS: usize = 4096;
/// Most features of a structure of caps, which GStreamer searches in the same way.
pub const MAX_FEATURES: usize = 64;
/// Most values of one tag: GStreamer copies all of them to add another.
pub const MAX_TAG_VALUES: usize = 256;
/// Longest name of a structure, a field, a feature, a tag or a type, in bytes.
pub const MAX_NAME: usize = 255;
