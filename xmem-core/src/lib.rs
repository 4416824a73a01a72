//! Zero-copy frames between processes.
