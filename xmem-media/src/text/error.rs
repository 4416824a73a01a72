//! Why a text cannot be parsed.

use thiserror::Error;

/// Where a text is no caps, or no structure, and why.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{reason}, at byte {position}")]
pub struct ParseError {
    pub(super) position: usize,
    pub(super) reason: &'static str,
}

impl ParseError {
    /// The byte of the text that was not expected.
    pub fn position(&self) -> usize {
        self.position
    }
}
