//! The elements.
