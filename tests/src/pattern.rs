//! Frames with content that a receiver can check completely.
//!
//! The content of a frame is a function of its number, its size and the size of its extra bytes.
//! All three are in its record, and the number is also its position in the stream.

use std::time::{Duration, SystemTime};

use xmem_core::{BufferMeta, DType, Frame, FrameMut, Publisher, Result};

use crate::random::mix;

/// Number of bytes that are made or compared at once, on the stack: checking a frame allocates no
/// memory.
const CHUNK: usize = 4096;

/// Calls `with` for each piece of `len` bytes of content, with its offset and its bytes.
fn pieces(seed: u64, len: usize, mut with: impl FnMut(usize, &[u8])) {
    let mut chunk = [0; CHUNK];
    for start in (0..len).step_by(CHUNK) {
        let end = len.min(start + CHUNK);
        let words = chunk[..end - start].chunks_mut(8).enumerate();
        for (word, bytes) in words {
            let value = mix(seed ^ mix((start + 8 * word) as u64)).to_le_bytes();
            bytes.copy_from_slice(&value[..bytes.len()]);
        }
        with(start, &chunk[..end - start]);
    }
}

/// Seeds that differ for the payload and the extra bytes.
fn payload_seed(number: u64) -> u64 {
    2 * number
}

fn extra_seed(number: u64) -> u64 {
    2 * number + 1
}

/// `len` extra bytes of frame `number`.
pub fn extra(number: u64, len: usize) -> Vec<u8> {
    let mut extra = Vec::with_capacity(len);
    pieces(extra_seed(number), len, |_, bytes| {
        extra.extend_from_slice(bytes)
    });
    extra
}

/// The record of frame `number`, as its producer writes it.
pub fn meta(number: u64, len: usize, extra: usize) -> Result<BufferMeta> {
    let rows = len as u64 / 16;
    let mut meta = match number % 4 {
        0 => BufferMeta::bytes(len),
        1 => BufferMeta::tensor(DType::Int16, &[len as u64 / 2])?,
        2 => BufferMeta::strided(DType::UInt8, &[rows, 5, 3], &[16, 3, 1], len as u64)?,
        _ => BufferMeta::tensor(DType::Float64, &[1, 1, 1, 1, 1, 1, 1, rows])?,
    };
    meta.set_content_type(&format!("test/{number}"));
    if number % 2 == 1 {
        meta.set_producer(&format!("maker {number}"));
    }
    meta.set_flags((number as u32) << 4);
    meta.set_pts(Some(Duration::from_nanos(3 * number)));
    meta.set_dts(Some(Duration::from_nanos(5 * number)));
    meta.set_duration(Some(Duration::from_nanos(extra as u64)));
    meta.set_offset(Some(number));
    meta.set_offset_end(Some(len as u64));
    Ok(meta)
}

/// Writes the payload and the record of frame `number`, and `extra_len` extra bytes unless that is
/// 0.
///
/// # Errors
/// Those of [`FrameMut::set_extra`].
pub fn fill(frame: &mut FrameMut, number: u64, extra_len: usize) -> Result<()> {
    let len = frame.payload()?.len();
    let payload = frame.payload()?;
    pieces(payload_seed(number), len, |start, bytes| {
        payload.write(start, bytes)
    });
    *frame.meta_mut() = meta(number, len, extra_len)?;
    if extra_len > 0 {
        frame.set_extra(&extra(number, extra_len))?;
    }
    Ok(())
}

/// Publishes frame `number` with `len` bytes and `extra_len` extra bytes.
///
/// # Errors
/// Those of [`Publisher::acquire`] and [`FrameMut::publish`].
pub fn publish(publisher: &Publisher, number: u64, len: usize, extra_len: usize) -> Result<()> {
    let mut frame = publisher.acquire(len)?;
    fill(&mut frame, number, extra_len)?;
    frame.publish().map(drop)
}

/// Checks a received frame: record, payload and extra bytes.
///
/// # Errors
/// The first difference.
pub fn check(frame: &Frame) -> std::result::Result<(), String> {
    let found = frame.meta();
    let (number, len) = (found.offset(), found.offset_end());
    let extra_len = found.duration().map(|duration| duration.as_nanos() as u64);
    let (Some(number), Some(len), Some(extra_len)) = (number, len, extra_len) else {
        return Err(format!("no number, length or extra length in {found:?}"));
    };
    let wrong = |what: String| Err(format!("frame {number}: {what} in {found:?}"));
    if frame.seq() != number {
        return wrong(format!("its position is {}", frame.seq()));
    }
    let expected = match meta(number, len as usize, extra_len as usize) {
        Ok(meta) => meta,
        Err(error) => return wrong(error.to_string()),
    };
    let payload = match frame.payload() {
        Ok(payload) => payload,
        Err(error) => return wrong(error.to_string()),
    };
    if payload.len() as u64 != len || found.size() != len {
        return wrong(format!("{} bytes of {len}", payload.len()));
    }
    let fields = |meta: &BufferMeta| {
        (
            (meta.storage_type(), meta.device_id(), meta.dtype()),
            (meta.shape().to_vec(), meta.strides().to_vec()),
            (meta.content_type().to_owned(), *meta.cuda_ipc_handle()),
            (meta.pts(), meta.dts(), meta.duration()),
            (meta.offset(), meta.offset_end(), meta.flags()),
        )
    };
    if fields(found) != fields(&expected) {
        return wrong(format!("its record differs from {expected:?}"));
    }
    // If the frame names no producer, the producer process is named.
    let named = expected.producer() == "" || found.producer() == expected.producer();
    if !named || found.producer() == "" || found.timestamp() == SystemTime::UNIX_EPOCH {
        return wrong("producer or timestamp".into());
    }
    let mut buffer = [0; CHUNK];
    let mut differs = None;
    pieces(payload_seed(number), len as usize, |start, bytes| {
        let buffer = &mut buffer[..bytes.len()];
        payload.read(start, buffer);
        if buffer != bytes {
            differs.get_or_insert(start);
        }
    });
    if let Some(start) = differs {
        return wrong(format!("wrong bytes from {start} on"));
    }
    let found_extra = if u64::from(found.extra_len()) != extra_len {
        Err(format!("{} extra bytes of {extra_len}", found.extra_len()))
    } else if extra_len == 0 {
        return Ok(());
    } else {
        frame.extra().map_err(|error| error.to_string())
    };
    match found_extra {
        Ok(bytes) if bytes == extra(number, extra_len as usize) => Ok(()),
        Ok(_) => wrong("wrong extra bytes".into()),
        Err(error) => wrong(error),
    }
}
