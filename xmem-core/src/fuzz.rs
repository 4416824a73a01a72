//! Top: whatever bytes come from another process, as a fuzzer makes them up. Each function takes
//! some and asserts what must hold of all that passes the checks.
//!
//! The targets in `fuzz/` call these, and so do the tests, on the corpora that are kept there.

use std::hint::black_box;

use zerocopy::FromBytes;

use crate::dtype::{DType, Element, MAX_NDIM};
use crate::error::Error;
use crate::message::{MAX_MESSAGE, Message};
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED};
use crate::payload::{Payload, view::View};
use crate::segment::{INLINE_EXTRA, MAX_EXTRA, SPILL_SIZE, read_location};
use crate::subscriber::pending::{check, is_inside};
use crate::sys::socket::MAX_FDS;

/// A datagram of the control connection, from either side.
pub fn message(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    assert!(message.fds() <= MAX_FDS);
    let encoded = message.encode();
    assert!(encoded.len() <= MAX_MESSAGE);
    assert_eq!(encoded.len(), bytes.len(), "{message:?}");
    let again = Message::decode(&encoded).expect("what was encoded is decoded");
    assert_eq!(again, message);
}

/// A frame's record, and all that a client derives of it: its text, its payload, views of that,
/// and where its extra bytes are.
///
/// The record, the location of its extra bytes, the position that was due (`u64`), and how large
/// the segments of its payload and its extra bytes are (`u16` each); zeros where there are no more.
pub fn record(bytes: &[u8]) {
    let mut input = [0; size_of::<BufferMeta>() + SPILL_SIZE + 8 + 2 + 2];
    let len = bytes.len().min(input.len());
    input[..len].copy_from_slice(&bytes[..len]);
    let (meta, rest) = BufferMeta::read_from_prefix(&input).expect("any bytes are a record");
    let (location, rest) = rest.split_first_chunk().expect("enough bytes");
    let (cursor, rest) = u64::read_from_prefix(rest).expect("enough bytes");
    let [room, extra_room] = <[u16; 2]>::read_from_bytes(rest).expect("enough bytes");

    // Applications can call these on any record, checked or not.
    black_box(format!("{meta:?}"));
    let is_text_of = |text: &str, field: &[u8]| {
        let end = text.len();
        assert_eq!(text.as_bytes(), &field[..end]);
        let goes_on = std::str::from_utf8(&field[end..]).is_ok() && end < field.len();
        assert!(!goes_on || field[end] == 0, "{text:?} of {field:?}");
    };
    is_text_of(meta.content_type(), &meta.content_type);
    is_text_of(meta.producer(), &meta.producer);
    assert!(meta.shape().len() <= MAX_NDIM && meta.shape().len() == meta.strides().len());

    match check(&meta, cursor) {
        Ok(()) => {}
        Err(Error::Protocol(_)) => return,
        Err(other) => panic!("{other:?}"),
    }
    assert!(meta.seq >= cursor && meta.seq.checked_add(1).is_some());

    // The very size, so that an address sanitizer sees each byte too far.
    let segment: Vec<u8> = (0..room).map(|at| (at ^ (at >> 8)) as u8).collect();
    if is_inside(segment.len(), meta.payload_offset, meta.size) {
        let frame = &segment[meta.payload_offset as usize..][..meta.size as usize];
        look(&meta, frame);
    }
    if meta.flags & FLAG_EXTRA_SPILLED == 0 {
        assert!(meta.extra_len <= INLINE_EXTRA);
    } else {
        assert!(meta.extra_len <= MAX_EXTRA);
        let segment = vec![1u8; usize::from(extra_room)];
        let (_, offset) = read_location(location);
        if is_inside(segment.len(), offset, u64::from(meta.extra_len)) {
            let extra = &segment[offset as usize..][..meta.extra_len as usize];
            assert!(extra.iter().all(|&byte| byte == 1));
        }
    }
}

/// Reads a frame in every way there is.
fn look(meta: &BufferMeta, frame: &[u8]) {
    let payload = Payload::of_bytes(frame);
    assert_eq!(payload.to_vec(), frame);
    match meta.dtype() {
        DType::UInt8 => walk::<u8>(meta, payload, frame),
        DType::Int8 => walk::<i8>(meta, payload, frame),
        DType::UInt16 => walk::<u16>(meta, payload, frame),
        DType::Int16 => walk::<i16>(meta, payload, frame),
        DType::UInt32 => walk::<u32>(meta, payload, frame),
        DType::Int32 => walk::<i32>(meta, payload, frame),
        DType::UInt64 => walk::<u64>(meta, payload, frame),
        DType::Int64 => walk::<i64>(meta, payload, frame),
        DType::Float16 => walk::<half::f16>(meta, payload, frame),
        DType::BFloat16 => walk::<half::bf16>(meta, payload, frame),
        // No element of Rust's: some bytes are no `bool`.
        DType::Bool => {}
        DType::Float32 => walk::<f32>(meta, payload, frame),
        DType::Float64 => walk::<f64>(meta, payload, frame),
    }
}

/// Compares elements of the frame's view with the bytes where they have to be: the first, the last,
/// and of each dimension the last alone.
fn walk<T: Element>(meta: &BufferMeta, payload: Payload<'_>, frame: &[u8]) {
    let view: View<'_, T> = payload
        .view(0, meta.shape(), meta.strides())
        .expect("the record was checked");
    let ndim = meta.shape().len();
    let first = vec![0; ndim];
    if meta.shape().contains(&0) {
        assert!(view.get(&first).is_none());
        return;
    }
    let last: Vec<usize> = view.shape().iter().map(|length| length - 1).collect();
    let mut indices = vec![first.clone(), last.clone()];
    indices.extend((0..ndim).map(|dimension| {
        let mut index = first.clone();
        index[dimension] = last[dimension];
        index
    }));
    for index in indices {
        let element = view.get(&index).expect("inside of the shape");
        let at: u128 = index
            .iter()
            .zip(meta.strides())
            .map(|(&position, &stride)| position as u128 * u128::from(stride))
            .sum();
        let at = usize::try_from(at).expect("inside of the frame");
        assert_eq!(element.as_bytes(), &frame[at..at + size_of::<T>()]);
        // The same by way of its rows.
        let mut part = view;
        for &position in &index {
            part = part.at(position).expect("inside of the shape");
        }
        let by_rows = part.iter().next().expect("the only element");
        assert_eq!(by_rows.as_bytes(), element.as_bytes());
    }
    for dimension in 0..ndim {
        let mut outside = last.clone();
        if let Some(beyond) = outside[dimension].checked_add(1) {
            outside[dimension] = beyond;
            assert!(view.get(&outside).is_none());
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decodes_is_encoded_to_the_same() {
        corpus::try_all("message", 20_000, message);
    }

    #[test]
    fn nothing_derived_of_a_record_leads_outside() {
        corpus::try_all("record", 20_000, record);
    }
}
