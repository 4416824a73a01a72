//! Metas that are nothing but fields.

use crate::field::plain;
use crate::value::{Buffer, Caps, EpochTime, Fraction, Structure, Text};

plain! {
    /// The part of a picture that is shown.
    Crop {
        /// The first column.
        x: u32,
        /// The first row.
        y: u32,
        /// The width.
        width: u32,
        /// The height.
        height: u32,
    }
    /// Something that was seen in a picture.
    Region {
        /// What it is; empty where that is not known.
        kind: Text,
        /// Its number, -1 for none.
        id: i32,
        /// The number of the region that it is part of, -1 for none.
        parent_id: i32,
        /// The first column.
        x: u32,
        /// The first row.
        y: u32,
        /// The width.
        width: u32,
        /// The height.
        height: u32,
        /// What else is known of it.
        params: Vec<Structure> [Region::MAX_PARAMS],
    }
    /// How a picture is turned, scaled and moved.
    Affine {
        /// Four rows of four.
        matrix: [f32; 16],
    }
    /// The time code of a picture.
    TimeCode {
        /// The frames of a second.
        rate: Fraction,
        /// The bits of `GstVideoTimeCodeFlags`.
        flags: u32,
        /// Hours.
        hours: u32,
        /// Minutes.
        minutes: u32,
        /// Seconds.
        seconds: u32,
        /// Frames.
        frames: u32,
        /// Fields.
        fields: u32,
        /// The latest daily jam.
        daily_jam: Option<EpochTime>,
    }
    /// Closed captions.
    Caption {
        /// The number of a `GstVideoCaptionType`.
        kind: i32,
        /// The data.
        data: Vec<u8>,
    }
    /// Which part of a coded picture is of interest (AFD).
    ActiveFormat {
        /// Whether it is of the second field.
        is_second_field: bool,
        /// The number of a `GstVideoAFDSpec`.
        spec: i32,
        /// The number of a `GstVideoAFDValue`.
        value: i32,
    }
    /// The bars beside a picture.
    Bar {
        /// Whether they are of the second field.
        is_second_field: bool,
        /// Whether they are above and below the picture, not left and right of it.
        is_letterbox: bool,
        /// The end of the first bar.
        first: u32,
        /// The start of the second bar.
        second: u32,
    }
    /// Data of an encoder (SEI, unregistered).
    Sei {
        /// Whose data it is.
        uuid: [u8; 16],
        /// The data.
        data: Vec<u8>,
    }
    /// The transparency of an encoded picture.
    CodecAlpha {
        /// The encoded transparency.
        buffer: Buffer,
    }
    /// How loud a buffer is.
    AudioLevel {
        /// Decibels below full scale, 255 at most.
        level: u32,
        /// Whether it is speech.
        is_voice: bool,
    }
    /// What a decoder cuts off.
    AudioClipping {
        /// The number of a `GstFormat`: 1 samples, 2 bytes, 3 time.
        format: i32,
        /// How much at the start.
        start: u64,
        /// How much at the end.
        end: u64,
    }
    /// What another clock showed.
    ReferenceTimestamp {
        /// Its time in nanoseconds.
        timestamp: Option<u64>,
        /// The duration in nanoseconds.
        duration: Option<u64>,
        /// Which clock it is.
        reference: Caps,
        /// What else is known of it.
        info: Option<Structure>,
    }
    /// How a buffer is encrypted.
    Protection {
        /// What a decryptor needs.
        info: Structure,
    }
    /// A meta of an application.
    Custom {
        /// What it depends on: `video`, for example.
        tags: Vec<Text> [Custom::MAX_TAGS],
        /// What it says; the name is that of the meta.
        structure: Structure,
    }
    /// A meta that functions of an application write and read.
    Registered {
        /// What `gst_meta_serialize` writes.
        bytes: Vec<u8>,
    }
}

impl Region {
    /// Most structures of a region: GStreamer looks for the last of them to add another.
    pub const MAX_PARAMS: usize = 256;
}

impl Custom {
    /// Most tags of a custom meta.
    pub const MAX_TAGS: usize = 16;
}
