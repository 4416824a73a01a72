//! [`BufferMeta`]: the record of a frame, plain data whose layout is part of the shared-memory ABI.

use std::fmt;
use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::dtype::{DType, MAX_NDIM, StorageType};
use crate::error::{Error, Result};

mod fields;

/// The value of a time or an offset that is not known.
pub(crate) const NONE: u64 = u64::MAX;

/// The four lowest bits of the record's flags belong to xmem, all others to the producer. (`GstBuffer`
/// uses none of the four for a flag of its own.)
pub(crate) const FLAG_EXTRA_SPILLED: u32 = 1 << 0;
pub(crate) const FLAGS_RESERVED: u32 = 0xf;
const FLAG_DEPENDENT: u32 = 1 << 1;
const FLAG_LEADING: u32 = 1 << 2;
/// The flags that [`BufferMeta::set_role`] sets.
pub(crate) const FLAGS_ROLE: u32 = FLAG_DEPENDENT | FLAG_LEADING;

/// Whether a client can begin with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// A client can begin here: the frame needs no other frame. This is the default.
    #[default]
    SyncPoint,
    /// A client can begin here if it can begin with the next frame, which may need this one: a
    /// header, for example.
    Leading,
    /// The frame needs frames before it, as a delta picture of a video codec does.
    Dependent,
}

/// The record of a frame: its element type, shape, times, origin.
///
/// One record stands beside each frame in shared memory. Its layout is part of the ABI: 384 bytes,
/// little-endian, aligned to 64, pinned by assertions. Text is UTF-8 of at most 32 bytes.
///
/// - A **producer** makes a record with [`bytes`](BufferMeta::bytes), [`tensor`](BufferMeta::tensor) or
///   [`strided`](BufferMeta::strided), sets what else it knows, and assigns it through
///   [`FrameMut::meta_mut`](crate::FrameMut::meta_mut). [`publish`](crate::FrameMut::publish) writes the
///   rest: position, slot, segment, size and timestamp. These have no setter.
/// - A **client** gets a checked *copy* from [`Frame::meta`](crate::Frame::meta): it can't change while
///   the client reads it. Text, times and flags are the producer's words; only what concerns memory is
///   checked.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use xmem_core::{BufferMeta, DType, Role};
///
/// # fn main() -> xmem_core::Result<()> {
/// // A picture of 640 by 480 RGB pixels, whose rows are padded to 2048 bytes.
/// let mut meta = BufferMeta::strided(DType::UInt8, &[480, 640, 3], &[2048, 3, 1], 480 * 2048)?;
/// meta.set_pts(Some(xmem_core::monotonic_time()));
/// meta.set_duration(Some(Duration::from_millis(40)));
/// meta.set_content_type("video/x-raw");
/// meta.set_role(Role::SyncPoint);
///
/// assert_eq!(meta.shape(), [480, 640, 3]);
/// assert_eq!(meta.size(), 983_040);
/// assert_eq!(meta.dts(), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct BufferMeta {
    /// The slot's number.
    pub(crate) id: u32,
    /// How many clients held the frame at the producer's last scan. Informative: it keeps nothing
    /// alive.
    pub(crate) ref_count: i32,
    /// The memory that the bytes are in, a [`StorageType`].
    pub(crate) storage_type: u8,
    /// The number of the device, for storage on a device.
    pub(crate) device_id: u8,
    /// The type of an element, a [`DType`].
    pub(crate) dtype: u8,
    /// How many dimensions `shape` and `strides` have, at most [`MAX_NDIM`].
    pub(crate) ndim: u8,
    pad: [u8; 4],
    /// Elements along each dimension, outermost first.
    pub(crate) shape: [u64; MAX_NDIM],
    /// Bytes from one element to the next along each dimension.
    pub(crate) strides: [u64; MAX_NDIM],
    /// Bytes of the frame.
    pub(crate) size: u64,
    /// When the frame was published, in milliseconds since the Unix epoch.
    pub(crate) timestamp: u64,
    /// The frame's place in the stream, counted from 0.
    pub(crate) seq: u64,
    /// The media type, `video/x-raw` for example.
    pub(crate) content_type: [u8; 32],
    /// The producer of the frame.
    pub(crate) producer: [u8; 32],
    /// The CUDA IPC handle of the frame's memory, where it lives on a device.
    pub(crate) cuda_ipc_handle: [u8; 64],
    /// When to show the frame: nanoseconds on `CLOCK_MONOTONIC`, [`NONE`] where it is not known.
    pub(crate) pts: u64,
    /// When to decode the frame, as `pts`.
    pub(crate) dts: u64,
    /// How long the frame lasts: nanoseconds, or [`NONE`].
    pub(crate) duration: u64,
    /// The producer's media-specific offset of the frame, a frame number for example, or [`NONE`].
    pub(crate) offset: u64,
    /// The offset of what comes after the frame.
    pub(crate) offset_end: u64,
    /// The segment that holds the bytes.
    pub(crate) segment: u32,
    /// The four lowest bits are xmem's own (`FLAGS_RESERVED`), the others the producer's.
    pub(crate) flags: u32,
    /// Where the frame starts in its segment, in bytes.
    pub(crate) payload_offset: u64,
    pad_2: [u8; 4],
    /// Bytes of variable data (serialized metas) beside the record.
    pub(crate) extra_len: u32,
    /// The number of the stream's last event before this frame, 0 for none.
    pub(crate) event: u64,
    /// The presentation time on the producer's own timeline, for GStreamer the buffer's PTS in its
    /// segment: nanoseconds, or [`NONE`]. `pts` is the same moment on `CLOCK_MONOTONIC`.
    pub(crate) stream_pts: u64,
    /// The decoding time on the producer's own timeline, as `stream_pts`.
    pub(crate) stream_dts: u64,
}

const _: () = {
    assert!(size_of::<BufferMeta>() == 384);
    assert!(align_of::<BufferMeta>() == 64);
    assert!(offset_of!(BufferMeta, ref_count) == 4);
    assert!(offset_of!(BufferMeta, storage_type) == 8);
    assert!(offset_of!(BufferMeta, device_id) == 9);
    assert!(offset_of!(BufferMeta, dtype) == 10);
    assert!(offset_of!(BufferMeta, ndim) == 11);
    assert!(offset_of!(BufferMeta, shape) == 16);
    assert!(offset_of!(BufferMeta, strides) == 80);
    assert!(offset_of!(BufferMeta, size) == 144);
    assert!(offset_of!(BufferMeta, timestamp) == 152);
    assert!(offset_of!(BufferMeta, seq) == 160);
    assert!(offset_of!(BufferMeta, content_type) == 168);
    assert!(offset_of!(BufferMeta, producer) == 200);
    assert!(offset_of!(BufferMeta, cuda_ipc_handle) == 232);
    assert!(offset_of!(BufferMeta, pts) == 296);
    assert!(offset_of!(BufferMeta, dts) == 304);
    assert!(offset_of!(BufferMeta, duration) == 312);
    assert!(offset_of!(BufferMeta, offset) == 320);
    assert!(offset_of!(BufferMeta, offset_end) == 328);
    assert!(offset_of!(BufferMeta, segment) == 336);
    assert!(offset_of!(BufferMeta, flags) == 340);
    assert!(offset_of!(BufferMeta, payload_offset) == 344);
    assert!(offset_of!(BufferMeta, extra_len) == 356);
    assert!(offset_of!(BufferMeta, event) == 360);
    assert!(offset_of!(BufferMeta, stream_pts) == 368);
    assert!(offset_of!(BufferMeta, stream_dts) == 376);
    assert!(
        cfg!(target_endian = "little"),
        "the shared layout is little-endian"
    );
};

impl Default for BufferMeta {
    fn default() -> Self {
        BufferMeta {
            pts: NONE,
            dts: NONE,
            duration: NONE,
            offset: NONE,
            offset_end: NONE,
            stream_pts: NONE,
            stream_dts: NONE,
            ..BufferMeta::new_zeroed()
        }
    }
}

impl BufferMeta {
    /// The record of `size` bytes without further structure: one dimension of `uint8`.
    #[must_use]
    pub fn bytes(size: usize) -> BufferMeta {
        let mut meta = BufferMeta {
            ndim: 1,
            size: size as u64,
            ..BufferMeta::default()
        };
        meta.shape[0] = size as u64;
        meta.strides[0] = 1;
        meta
    }

    /// The record of a dense tensor. `shape` counts elements along each dimension, outermost first; the
    /// strides follow from it. An empty shape is one element.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] for more than [`MAX_NDIM`] dimensions, or a size beyond 64 bits.
    pub fn tensor(dtype: DType, shape: &[u64]) -> Result<BufferMeta> {
        let mut strides = [0u64; MAX_NDIM];
        if shape.len() > MAX_NDIM {
            return Err(Error::InvalidShape(format!(
                "{} dimensions, at most {MAX_NDIM} are possible",
                shape.len()
            )));
        }
        let mut stride = dtype.size() as u64;
        for (dimension, &length) in shape.iter().enumerate().rev() {
            strides[dimension] = stride;
            stride = stride.checked_mul(length).ok_or_else(|| {
                Error::InvalidShape(format!("{shape:?} of {dtype} exceeds 64 bits"))
            })?;
        }
        BufferMeta::strided(dtype, shape, &strides[..shape.len()], stride)
    }

    /// The record of `size` bytes with elements at given strides, rows with padding for example.
    /// `strides` counts the bytes from one element to the next along each dimension, outermost first.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] where shape and strides have different lengths or more than [`MAX_NDIM`]
    /// dimensions, or an element lies beyond `size`.
    pub fn strided(dtype: DType, shape: &[u64], strides: &[u64], size: u64) -> Result<BufferMeta> {
        check_extent(shape, strides, dtype.size(), size)?;
        let mut meta = BufferMeta {
            dtype: dtype as u8,
            ndim: shape.len() as u8,
            size,
            ..BufferMeta::default()
        };
        meta.shape[..shape.len()].copy_from_slice(shape);
        meta.strides[..strides.len()].copy_from_slice(strides);
        Ok(meta)
    }

    /// Converts the times on `CLOCK_MONOTONIC` to a clock that is ahead by `offset` nanoseconds.
    pub(crate) fn shift_times(&mut self, offset: i64) {
        for time in [&mut self.pts, &mut self.dts] {
            if *time != NONE {
                *time = time.saturating_add_signed(offset).min(NONE - 1);
            }
        }
    }

    /// Checks a record that came from another process. Whether its range is inside its segment is
    /// checked where the segment is known.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::Protocol(format!("frame {}: {what}", self.seq)));
        if StorageType::from_u8(self.storage_type).is_none() {
            return bad(format!("unknown storage type {}", self.storage_type));
        }
        let Some(dtype) = DType::from_u8(self.dtype) else {
            return bad(format!("unknown element type {}", self.dtype));
        };
        if self.ndim as usize > MAX_NDIM {
            return bad(format!("{} dimensions", self.ndim));
        }
        match check_extent(self.shape(), self.strides(), dtype.size(), self.size) {
            Err(Error::InvalidShape(what)) => bad(what),
            other => other,
        }
    }
}

/// Checks that every element of `shape` at `strides` lies within `size` bytes.
pub(crate) fn check_extent(
    shape: &[u64],
    strides: &[u64],
    element: usize,
    size: u64,
) -> Result<()> {
    if shape.len() != strides.len() || shape.len() > MAX_NDIM {
        return Err(Error::InvalidShape(format!(
            "{} dimensions with {} strides, at most {MAX_NDIM} are possible",
            shape.len(),
            strides.len()
        )));
    }
    if shape.contains(&0) {
        return Ok(());
    }
    let mut end = element as u64;
    for (&length, &stride) in shape.iter().zip(strides) {
        let reach = (length - 1).checked_mul(stride);
        end = reach
            .and_then(|reach| end.checked_add(reach))
            .unwrap_or(u64::MAX);
    }
    if end > size {
        return Err(Error::InvalidShape(format!(
            "shape {shape:?} at strides {strides:?} needs {end} bytes, the frame has {size}"
        )));
    }
    Ok(())
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

pub(crate) fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let end = text.floor_char_boundary(N);
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}

pub(crate) fn fixed_text(bytes: &[u8]) -> &str {
    text(bytes)
}

impl fmt::Debug for BufferMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferMeta")
            .field("id", &self.id)
            .field("seq", &self.seq)
            .field("dtype", &self.dtype())
            .field("shape", &self.shape())
            .field("strides", &self.strides())
            .field("size", &self.size)
            .field("timestamp", &self.timestamp)
            .field("content_type", &self.content_type())
            .field("producer", &self.producer())
            .field("storage_type", &self.storage_type())
            .field("pts", &self.pts())
            .field("segment", &self.segment)
            .field("payload_offset", &self.payload_offset)
            .field("event", &self.event)
            .field("extra_len", &self.extra_len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
