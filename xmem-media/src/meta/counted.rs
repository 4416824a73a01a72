//! Metas of which some fields tell how many others there are.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::field::{Field, Result};
use crate::value::Text;

/// Most channels that have positions.
const MAX_CHANNELS: usize = 64;

/// Ancillary data of a line (SMPTE 291M).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancillary {
    /// The number of a `GstAncillaryMetaField`.
    pub field: i32,
    /// Whether it is in the colour channel.
    pub is_colour: bool,
    /// Line, offset, data ID, secondary data ID or block number, and checksum.
    pub numbers: [u16; 5],
    /// The data count: its lowest 8 bits say how many words there are.
    pub count: u16,
    /// The data words.
    pub words: Vec<u16>,
}

impl Field for Ancillary {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Ancillary> {
        let word = |decoder: &mut Decoder<'_>| {
            let word = decoder.u32()?.try_into();
            word.map_err(|_| DecodeError::Invalid("a word of ancillary data has 16 bits"))
        };
        let mut meta = Ancillary {
            field: decoder.i32()?,
            is_colour: decoder.bool()?,
            ..Ancillary::default()
        };
        for number in &mut meta.numbers {
            *number = word(decoder)?;
        }
        meta.count = word(decoder)?;
        let words = (0..meta.count & 0xff).map(|_| word(decoder));
        meta.words = words.collect::<Result<_>>()?;
        Ok(meta)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.i32(self.field);
        encoder.u32(self.is_colour.into());
        let words = self.numbers.iter().chain([&self.count]).chain(&self.words);
        words.for_each(|&word| encoder.u32(word.into()));
        (self.words.len() == usize::from(self.count & 0xff)).then_some(())
    }
}

/// What the samples of a buffer are, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The sample format, as in caps.
    pub format: Text,
    /// Samples of a second.
    pub rate: u32,
    /// The number of channels.
    pub channels: u32,
    /// The bits of `GstAudioFlags`.
    pub flags: u32,
    /// The numbers of a `GstAudioChannelPosition` for each channel; none where they have no positions.
    pub positions: Vec<i32>,
    /// Samples of each channel.
    pub samples: u64,
    /// Where each channel begins, if channels lie by themselves.
    pub offsets: Option<Vec<u64>>,
}

impl Field for Audio {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Audio> {
        let format = Text::decode(decoder)?;
        let [rate, channels, flags] = [decoder.u32()?, decoder.u32()?, decoder.u32()?];
        let is_planar = decoder.bool()?;
        let positions = read_positions(decoder)?;
        let samples = decoder.u64()?;
        // They end with the bytes, however many channels there are said to be.
        let offsets = (0..channels).map(|_| decoder.u64());
        let offsets = if is_planar {
            Some(offsets.collect::<Result<_>>()?)
        } else {
            None
        };
        Ok(Audio {
            format,
            rate,
            channels,
            flags,
            positions,
            samples,
            offsets,
        })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.text(&self.format)?;
        encoder.u32(self.rate);
        encoder.u32(self.channels);
        encoder.u32(self.flags);
        encoder.u32(self.offsets.is_some().into());
        write_positions(&self.positions, encoder)?;
        encoder.u64(self.samples);
        let Some(offsets) = &self.offsets else {
            return Some(());
        };
        offsets.iter().for_each(|&offset| encoder.u64(offset));
        (offsets.len() == self.channels as usize).then_some(())
    }
}

/// How channels are mixed to others.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioDownmix {
    /// The numbers of a `GstAudioChannelPosition` for each channel.
    pub from: Vec<i32>,
    /// The same for each channel that they are mixed to.
    pub to: Vec<i32>,
    /// A row for each channel that they are mixed to, with a number for each channel.
    pub matrix: Vec<f32>,
}

impl Field for AudioDownmix {
    fn decode(decoder: &mut Decoder<'_>) -> Result<AudioDownmix> {
        let [from, to] = [read_positions(decoder)?, read_positions(decoder)?];
        let matrix = (0..from.len() * to.len()).map(|_| decoder.f32());
        let matrix = matrix.collect::<Result<_>>()?;
        Ok(AudioDownmix { from, to, matrix })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        write_positions(&self.from, encoder)?;
        write_positions(&self.to, encoder)?;
        self.matrix.iter().for_each(|&number| encoder.f32(number));
        (self.matrix.len() == self.from.len() * self.to.len()).then_some(())
    }
}

fn read_positions(decoder: &mut Decoder<'_>) -> Result<Vec<i32>> {
    let positions = Vec::decode(decoder)?;
    if positions.len() > MAX_CHANNELS {
        return Err(DecodeError::Invalid("64 channels at most have positions"));
    }
    Ok(positions)
}

fn write_positions(positions: &Vec<i32>, encoder: &mut Encoder<'_>) -> Option<()> {
    (positions.len() <= MAX_CHANNELS).then_some(())?;
    positions.encode(encoder)
}

/// The sizes of the memories that a buffer has in the producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memories {
    /// The bytes of each.
    pub sizes: Vec<u64>,
}

impl Field for Memories {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Memories> {
        let (sizes, []) = decoder.rest().as_chunks() else {
            return Err(DecodeError::Invalid("a size has 8 bytes"));
        };
        let sizes = sizes.iter().map(|&size| u64::from_le_bytes(size)).collect();
        Ok(Memories { sizes })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.sizes.iter().for_each(|&size| encoder.u64(size));
        Some(())
    }
}
