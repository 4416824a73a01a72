//! Caps: what frames can be, or are.

use super::body::{Body, Record, Size};
use super::features::Features;
use super::types::{Caps, Content, Structure, kind};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::InvalidValue;
use crate::field::{self, Field};

impl Caps {
    /// Caps of which all others are a part.
    pub const ANY: Caps = Caps(Content::Any);
    /// Caps without structures.
    pub const EMPTY: Caps = Caps(Content::Structures(Vec::new()));

    /// Caps of these structures.
    ///
    /// # Errors
    /// [`InvalidValue`] where they are nested too deeply, or consist of too many values.
    pub fn new(structures: Vec<(Features, Structure)>) -> Result<Caps, InvalidValue> {
        let caps = Caps(Content::Structures(structures));
        caps.size().check()?;
        Ok(caps)
    }

    /// Whether all caps are a part of these.
    pub fn is_any(&self) -> bool {
        self.0 == Content::Any
    }

    /// The structures, with the features of each. [`ANY`](Caps::ANY) has none.
    pub fn structures(&self) -> &[(Features, Structure)] {
        match &self.0 {
            Content::Any => &[],
            Content::Structures(structures) => structures,
        }
    }

    /// The structures, with the features of each. [`ANY`](Caps::ANY) has none.
    pub fn into_structures(self) -> Vec<(Features, Structure)> {
        match self.0 {
            Content::Any => Vec::new(),
            Content::Structures(structures) => structures,
        }
    }

    /// One of the structures.
    pub fn structure(&self, index: usize) -> Option<&Structure> {
        let (_, structure) = self.structures().get(index)?;
        Some(structure)
    }

    /// The features of one of the structures.
    pub fn features(&self, index: usize) -> Option<&Features> {
        let (features, _) = self.structures().get(index)?;
        Some(features)
    }

    /// Whether these caps describe one stream, as those of frames do: one structure, whose features
    /// are told, and whose fields have single values.
    pub fn is_fixed(&self) -> bool {
        match self.structures() {
            [(features, structure)] => !features.is_any() && structure.is_fixed(),
            _ => false,
        }
    }
}

impl Body for Caps {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Caps> {
        if decoder.bool()? {
            return Ok(Caps::ANY);
        }
        let mut structures = Vec::new();
        for _ in 0..decoder.count(8)? {
            let features = decoder.record_of(kind::FEATURES, Features::decode)?;
            structures.push((features, Structure::read_record(decoder)?));
        }
        Ok(Caps::new(structures)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.is_any().into());
        encoder.count(self.structures().len())?;
        self.structures()
            .iter()
            .try_for_each(|(features, structure)| {
                encoder.record(kind::FEATURES, |encoder| features.encode(encoder))?;
                structure.write_record(encoder)
            })
    }

    fn size(&self) -> Size {
        // The record of the features counts for the depth, which that of the structure does too.
        Size::around(
            self.structures()
                .iter()
                .map(|(_, structure)| structure.size()),
        )
    }
}

impl TryFrom<Structure> for Caps {
    type Error = InvalidValue;

    /// Caps of this structure, in system memory.
    fn try_from(structure: Structure) -> Result<Caps, InvalidValue> {
        Caps::new(vec![(Features::default(), structure)])
    }
}
