//! Values of types that a library registers by name: enumerations and flags.

use crate::error::InvalidValue;
use crate::names::check_name;

/// A number of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumValue {
    type_name: Box<str>,
    number: i32,
}

impl EnumValue {
    /// The number `number` of the enumeration `type_name`.
    ///
    /// # Errors
    /// [`InvalidValue`] where no type can have that name.
    pub fn new(type_name: &str, number: i32) -> Result<EnumValue, InvalidValue> {
        check_name(type_name)?;
        Ok(EnumValue {
            type_name: type_name.into(),
            number,
        })
    }

    /// The name of the type: `GstTagScope`, for example.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The number.
    pub fn number(&self) -> i32 {
        self.number
    }
}

/// Bits of a type of flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagsValue {
    type_name: Box<str>,
    bits: u32,
}

impl FlagsValue {
    /// These bits of the flags `type_name`.
    ///
    /// # Errors
    /// [`InvalidValue`] where no type can have that name.
    pub fn new(type_name: &str, bits: u32) -> Result<FlagsValue, InvalidValue> {
        check_name(type_name)?;
        Ok(FlagsValue {
            type_name: type_name.into(),
            bits,
        })
    }

    /// The name of the type: `GstSeekFlags`, for example.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }
}

/// Flags, of which those in a mask are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagSet {
    type_name: Box<str>,
    bits: u32,
    mask: u32,
}

impl FlagSet {
    /// The flags `bits` of those in `mask`, of the type `type_name`.
    ///
    /// # Errors
    /// [`InvalidValue`] where no type can have that name.
    pub fn new(type_name: &str, bits: u32, mask: u32) -> Result<FlagSet, InvalidValue> {
        check_name(type_name)?;
        Ok(FlagSet {
            type_name: type_name.into(),
            bits,
            mask,
        })
    }

    /// The name of the type: `GstFlagSet`, for example.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Which of the bits are given.
    pub fn mask(&self) -> u32 {
        self.mask
    }
}
