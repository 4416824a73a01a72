//! The kinds of what a producer says. The numbers are part of the protocol.

/// A stream begins.
pub const STREAM_START: u32 = 1;
/// The segment of the buffers to come.
pub const SEGMENT: u32 = 2;
/// The latency of the producer.
pub const LATENCY: u32 = 3;
/// The upstream events that the producer takes.
pub const ACCEPTS: u32 = 4;
/// The streams that there are.
pub const STREAM_COLLECTION: u32 = 5;
/// Tags.
pub const TAGS: u32 = 6;
/// A custom event.
pub const CUSTOM: u32 = 7;
/// No buffers for a while.
pub const GAP: u32 = 8;
/// Buffers that are not shown yet are dropped.
pub const FLUSH: u32 = 9;
/// The producer needs its memory.
pub const DRAIN: u32 = 10;
/// A segment is over.
pub const SEGMENT_DONE: u32 = 11;
/// How a stream is encrypted.
pub const PROTECTION: u32 = 12;
/// A table of contents.
pub const TOC: u32 = 13;
/// The stream ends next.
pub const END: u32 = 14;
/// Whether the producer waits for its clients.
pub const WAITS: u32 = 15;
/// How long the stream is, and where it can be sought.
pub const EXTENT: u32 = 16;
/// Whether the frames to come are shown in PAUSED.
pub const STILL: u32 = 17;
