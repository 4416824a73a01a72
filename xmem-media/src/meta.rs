//! Metas: what a frame carries beside its bytes, in its extra bytes.
//!
//! ```
//! use xmem_media::meta::{Meta, MetaReader, MetaWriter, Region};
//! use xmem_media::{VideoInfo, VideoLayout};
//!
//! let caps = "video/x-raw, format=NV12, width=640, height=480".parse()?;
//! let video = VideoInfo::from_caps(&caps).unwrap();
//!
//! // What a producer gives a frame: where its planes lie, and what was seen in it.
//! let mut extra = Vec::new();
//! let mut writer = MetaWriter::new(&mut extra);
//! writer.write(&VideoLayout::from(&video).into())?;
//! let face = Region { x: 10, y: 20, width: 64, height: 64, ..Region::named("face")? };
//! writer.write(&face.into())?;
//!
//! // What a client finds.
//! for meta in MetaReader::new(&extra) {
//!     match meta? {
//!         Meta::Video(layout) => {
//!             layout.check(&video, video.size)?;
//!             assert_eq!((layout.offset[1], layout.stride[1]), (640 * 480, 640));
//!         }
//!         Meta::Region(region) => assert_eq!(&*region.kind, "face"),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue};
use crate::field::records;
use crate::value::Text;
use crate::video::VideoLayout;

mod analytics;
mod counted;
mod overlay;
mod pixels;
mod plain;
mod tensor;
#[cfg(test)]
mod tests;

pub use analytics::{
    Analytics, Class, Classes, Object, Relation, Segmentation, Thing, Tracking, thing,
};
pub use counted::{Ancillary, Audio, AudioDownmix, Memories};
pub use overlay::{Overlay, OverlayRectangle};
pub use pixels::{Mask, MaskFormat, Pixels};
pub use plain::{
    ActiveFormat, Affine, AudioClipping, AudioLevel, Bar, Caption, CodecAlpha, Crop, Custom,
    Protection, ReferenceTimestamp, Region, Registered, Sei, TimeCode,
};
pub use tensor::{Tensor, Tensors};

records! {
    /// The kinds of metas. The numbers are part of the protocol.
    kinds kind;
    /// A meta of a frame.
    enum Meta;
    /// Where the planes of raw video lie.
    1 VIDEO Video(VideoLayout);
    /// Which part of raw video is shown.
    2 VIDEO_CROP Crop(Crop);
    /// Something that was seen in a picture.
    3 REGION Region(Region);
    /// How a picture is turned.
    4 AFFINE Affine(Affine);
    /// The time code of a picture.
    5 TIME_CODE TimeCode(TimeCode);
    /// Pictures that are drawn over a picture.
    6 OVERLAY Overlay(Overlay);
    /// Closed captions.
    7 CAPTION Caption(Caption);
    /// Which part of a coded picture is of interest.
    8 AFD ActiveFormat(ActiveFormat);
    /// The bars beside a picture.
    9 BAR Bar(Bar);
    /// Data of an encoder.
    10 SEI Sei(Sei);
    /// The transparency of an encoded picture.
    11 CODEC_ALPHA CodecAlpha(CodecAlpha);
    /// Ancillary data.
    12 ANCILLARY Ancillary(Ancillary);
    /// What samples are, and where they lie.
    13 AUDIO Audio(Audio);
    /// How loud a buffer is.
    14 AUDIO_LEVEL AudioLevel(AudioLevel);
    /// What a decoder cuts off.
    15 AUDIO_CLIPPING AudioClipping(AudioClipping);
    /// How channels are mixed.
    16 AUDIO_DOWNMIX AudioDownmix(AudioDownmix);
    /// What another clock showed.
    17 REFERENCE_TIMESTAMP ReferenceTimestamp(ReferenceTimestamp);
    /// How a buffer is encrypted.
    18 PROTECTION Protection(Protection);
    /// A meta of an application.
    19 CUSTOM Custom(Custom);
    /// A meta that functions of an application write and read.
    20 REGISTERED Registered(Registered);
    /// What a model has seen in a picture.
    21 ANALYTICS Analytics(Analytics);
    /// The tensors of a model.
    22 TENSORS Tensors(Tensors);
    /// The sizes of the buffer's memories. No meta.
    100 MEMORIES Memories(Memories);
}

impl Region {
    /// A region of this kind, without a number and without an extent.
    ///
    /// # Errors
    /// [`InvalidValue`] where the text has a zero byte.
    pub fn named(kind: &str) -> Result<Region, InvalidValue> {
        Ok(Region {
            kind: Text::new(kind)?,
            id: -1,
            parent_id: -1,
            x: 0,
            y: 0,
            width: 0,
            height: 0,
            params: Vec::new(),
        })
    }

    /// Whether the numbers of its last column and row can be computed.
    pub fn has_end(&self) -> bool {
        self.x.checked_add(self.width).is_some() && self.y.checked_add(self.height).is_some()
    }
}

/// The metas in the extra bytes of a frame, in their order. A meta that is invalid is the last one.
#[derive(Clone, Debug)]
pub struct MetaReader<'a>(Decoder<'a>);

impl<'a> MetaReader<'a> {
    /// Reads these bytes.
    pub fn new(extra: &'a [u8]) -> MetaReader<'a> {
        MetaReader(Decoder::new(extra))
    }
}

impl Iterator for MetaReader<'_> {
    type Item = Result<Meta, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let meta = self.0.record(|body, kind| Meta::decode(kind, body));
        if meta.is_err() {
            self.0 = Decoder::default();
        }
        Some(meta)
    }
}

/// Writes metas to the extra bytes of a frame.
#[derive(Debug)]
pub struct MetaWriter<'a>(Encoder<'a>);

impl<'a> MetaWriter<'a> {
    /// Writes after the bytes that are there.
    pub fn new(extra: &'a mut Vec<u8>) -> MetaWriter<'a> {
        MetaWriter(Encoder::new(extra))
    }

    /// Writes a meta.
    ///
    /// # Errors
    /// [`InvalidValue`] where no reader would take it. Then it leaves no bytes behind.
    pub fn write(&mut self, meta: &Meta) -> Result<(), InvalidValue> {
        let written = self.0.record(meta.kind(), |body| meta.encode(body));
        written.ok_or(InvalidValue("a meta is too long, or contradicts itself"))
    }
}
