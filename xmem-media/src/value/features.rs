//! The features of memory in caps.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field::{self, Field};
use crate::limits::MAX_FEATURES;
use crate::names::is_feature_name;

/// The feature of memory that any program can map. Caps without features mean the same.
const SYSTEM_MEMORY: &str = "memory:SystemMemory";

/// The features of a structure's memory: none for system memory, or any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    is_any: bool,
    names: Vec<Box<str>>,
}

impl Features {
    /// Any features.
    pub const ANY: Features = Features {
        is_any: true,
        names: Vec::new(),
    };

    /// These features. `memory:SystemMemory` alone is the same as none.
    ///
    /// # Errors
    /// [`InvalidValue`] where one is none, stands twice, or there are too many.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Features, InvalidValue> {
        let mut features = Features::default();
        for name in names {
            check(is_feature_name(name), "a feature is called kind:name")?;
            check(!features.contains(name), "a feature stands once")?;
            check(
                features.names.len() < MAX_FEATURES,
                "a structure has 64 features at most",
            )?;
            features.names.push(name.into());
        }
        if features.names().eq([SYSTEM_MEMORY]) {
            features.names.clear();
        }
        Ok(features)
    }

    /// Whether any features are meant.
    pub fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether the memory is plain memory, which has no features.
    pub fn is_system_memory(&self) -> bool {
        !self.is_any && self.names.is_empty()
    }

    /// The names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether this feature is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }
}

impl Field for Features {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<Features> {
        if decoder.bool()? {
            return Ok(Features::ANY);
        }
        let count = decoder.count(4)?;
        check(count <= MAX_FEATURES, "a structure has 64 features at most")?;
        let names = (0..count).map(|_| decoder.text());
        Ok(Features::new(names.collect::<field::Result<Vec<_>>>()?)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.is_any.into());
        encoder.count(self.names.len())?;
        self.names().try_for_each(|name| encoder.text(name))
    }
}
