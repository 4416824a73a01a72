//! Caps: what frames can be, or are.

use super::{Size, Structure};
use crate::error::{InvalidValue, check};
use crate::limits::MAX_FEATURES;
use crate::names::is_feature_name;

/// Structures, each with the features of its memory; or any caps.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps(Content);

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Any,
    Structures(Vec<(Features, Structure)>),
}

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
        Size::around(caps.parts())?;
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

    fn parts(&self) -> impl Iterator<Item = Size> {
        // The record of the features counts for the depth, which that of the structure does too.
        self.structures()
            .iter()
            .map(|(_, structure)| structure.size())
    }

    pub(super) fn size(&self) -> Size {
        Size::unchecked_around(self.parts())
    }
}

impl TryFrom<Structure> for Caps {
    type Error = InvalidValue;

    /// Caps of this structure, in system memory.
    fn try_from(structure: Structure) -> Result<Caps, InvalidValue> {
        Caps::new(vec![(Features::default(), structure)])
    }
}

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
