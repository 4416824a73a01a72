//! The first bytes of a buffer, by which a format tells what a buffer is.

/// Copies the first bytes of a buffer into `bytes`, as many as there are, and returns them.
pub(super) fn first_bytes<'a>(buffer: &gst::BufferRef, bytes: &'a mut [u8]) -> &'a [u8] {
    let there = bytes.len().min(buffer.size());
    let bytes = &mut bytes[..there];
    match buffer.copy_to_slice(0, bytes) {
        Ok(()) => bytes,
        // The memory cannot be mapped.
        Err(read) => &bytes[..read],
    }
}
