//! Why bytes cannot be decoded, and why a value cannot be made.

use thiserror::Error;

/// Why bytes cannot be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// No encoder writes these bytes.
    #[error("invalid: {0}")]
    Invalid(&'static str),
    /// The bytes are well-formed, but this process does not know what they describe: a kind of a
    /// later version, a type of a library that is not loaded. What follows them can be decoded.
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
}

/// Why a value cannot be made: the rule that it breaks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidValue(pub(crate) &'static str);

impl From<InvalidValue> for DecodeError {
    fn from(error: InvalidValue) -> DecodeError {
        DecodeError::Invalid(error.0)
    }
}

/// `Ok` where the rule holds.
pub(crate) fn check(holds: bool, rule: &'static str) -> Result<(), InvalidValue> {
    if holds {
        Ok(())
    } else {
        Err(InvalidValue(rule))
    }
}
