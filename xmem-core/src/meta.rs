//! [`BufferMeta`]: what a frame is. Plain data, and the shared-memory ABI.

use std::fmt;
use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::dtype::{DType, MAX_NDIM, StorageType};
use crate::error::{Error, Result};

/// The value of a time or an offset that is not known.
pub const NONE: u64 = u64::MAX;

/// Bits of [`BufferMeta::flags`] that belong to xmem itself; the others are the producer's,
/// for GStreamer the `GstBufferFlags` (whose four lowest bits are never used by buffers).
pub(crate) const FLAG_EXTRA_SPILLED: u32 = 1 << 0;
pub(crate) const FLAGS_RESERVED: u32 = 0xf;
const FLAG_DEPENDENT: u32 = 1 << 1;
const FLAG_LEADING: u32 = 1 << 2;
/// Those that the producer sets, by [`BufferMeta::set_role`].
pub(crate) const FLAGS_ROLE: u32 = FLAG_DEPENDENT | FLAG_LEADING;

/// Whether a client can begin with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It can: the frame needs none before it. So it is with all frames that say nothing else.
    #[default]
    SyncPoint,
    /// It can if it can begin with the frame after it, which may need this one: a header, for example.
    Leading,
    /// It can't: the frame needs others before it, as a picture does of which only the differences are
    /// coded.
    Dependent,
}

/// What a frame is: one such record stands beside every frame in shared memory.
///
/// The layout is fixed (little-endian, 384 bytes, aligned to 64) and pinned by assertions; the
/// channel's header carries its version. Times are in nanoseconds unless said otherwise and
/// [`NONE`] where unknown. Text is UTF-8, padded with zero bytes.
///
/// A client gets a checked *copy* of the record: what it reads can't change under it.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct BufferMeta {
    /// The slot's number.
    pub id: u32,
    /// How many clients the producer last saw holding the frame. A figure to look at: it keeps
    /// nothing alive.
    pub ref_count: i32,
    /// Where the bytes live, a [`StorageType`].
    pub storage_type: u8,
    /// Which device, for storage on a device.
    pub device_id: u8,
    /// The type of an element, a [`DType`].
    pub dtype: u8,
    /// How many dimensions `shape` and `strides` have, at most [`MAX_NDIM`].
    pub ndim: u8,
    pad: [u8; 4],
    /// Elements along each dimension, outermost first.
    pub shape: [u64; MAX_NDIM],
    /// Bytes from one element to the next along each dimension.
    pub strides: [u64; MAX_NDIM],
    /// Bytes of the frame.
    pub size: u64,
    /// When the frame was published, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The frame's place in the stream, counted from 0.
    pub seq: u64,
    /// The media type, `video/x-raw` for example.
    pub content_type: [u8; 32],
    /// The producer of the frame.
    pub producer: [u8; 32],
    /// The CUDA IPC handle of the frame's memory, where it lives on a device.
    pub cuda_ipc_handle: [u8; 64],
    /// When to show the frame, on `CLOCK_MONOTONIC`; for GStreamer without the pipeline's latency.
    pub pts: u64,
    /// When to decode the frame, on `CLOCK_MONOTONIC`; as `pts`.
    pub dts: u64,
    /// How long the frame lasts.
    pub duration: u64,
    /// The producer's media-specific offset of the frame, a frame number for example.
    pub offset: u64,
    /// The offset of what comes after the frame.
    pub offset_end: u64,
    /// The segment that holds the bytes.
    pub segment: u32,
    /// The four lowest bits are xmem's own (see [`role`](BufferMeta::role)), the others the producer's.
    pub flags: u32,
    /// Where the frame starts in its segment, in bytes.
    pub payload_offset: u64,
    pad_2: [u8; 4],
    /// Bytes of variable data (serialized metas) beside the record.
    pub extra_len: u32,
    /// The number of the stream's last event before this frame, 0 for none.
    pub event: u64,
    /// The frame's presentation time in the producer's own terms, for GStreamer the buffer's PTS
    /// in its segment. `pts` is the same moment on `CLOCK_MONOTONIC`.
    pub stream_pts: u64,
    /// The frame's decoding time in the producer's own terms.
    pub stream_dts: u64,
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
    /// A record for `size` bytes without further structure: one dimension of `uint8`.
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

    /// A record for a dense tensor, outermost dimension first, its strides derived.
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

    /// A record for elements at given strides in `size` bytes, RGB video rows with padding for
    /// example.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] where shape, strides and size do not fit together.
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

    /// The type of an element; [`DType::UInt8`] where the record names none that exists.
    pub fn dtype(&self) -> DType {
        DType::from_u8(self.dtype).unwrap_or(DType::UInt8)
    }

    /// Elements along each dimension, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.shape[..(self.ndim as usize).min(MAX_NDIM)]
    }

    /// Bytes between elements along each dimension, outermost first.
    pub fn strides(&self) -> &[u64] {
        &self.strides[..(self.ndim as usize).min(MAX_NDIM)]
    }

    /// The media type as text.
    pub fn content_type(&self) -> &str {
        text(&self.content_type)
    }

    /// Sets the media type; what does not fit 32 bytes is cut.
    pub fn set_content_type(&mut self, name: &str) {
        self.content_type = fixed(name);
    }

    /// The maker's name as text.
    pub fn producer(&self) -> &str {
        text(&self.producer)
    }

    /// Sets the maker's name; what does not fit 32 bytes is cut.
    pub fn set_producer(&mut self, name: &str) {
        self.producer = fixed(name);
    }

    /// Whether a client can begin with the frame.
    pub fn role(&self) -> Role {
        match self.flags & FLAGS_ROLE {
            0 => Role::SyncPoint,
            FLAG_LEADING => Role::Leading,
            _ => Role::Dependent,
        }
    }

    /// Says whether a client can begin with the frame. Clients that join get the frames from the newest
    /// sync point on, where these are [kept](crate::PublisherBuilder::keep_group).
    pub fn set_role(&mut self, role: Role) {
        self.flags &= !FLAGS_ROLE;
        self.flags |= match role {
            Role::SyncPoint => 0,
            Role::Leading => FLAG_LEADING,
            Role::Dependent => FLAG_DEPENDENT,
        };
    }

    /// Moves the points on `CLOCK_MONOTONIC` to a clock that is ahead by `offset` nanoseconds.
    pub(crate) fn shift_times(&mut self, offset: i64) {
        for time in [&mut self.pts, &mut self.dts] {
            if *time != NONE {
                *time = time.saturating_add_signed(offset).min(NONE - 1);
            }
        }
    }

    /// Checks a record that came from another process, all but what only its segment can tell.
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
            .field("pts", &self.pts)
            .field("segment", &self.segment)
            .field("payload_offset", &self.payload_offset)
            .field("event", &self.event)
            .field("extra_len", &self.extra_len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tensor_has_dense_strides() {
        let meta = BufferMeta::tensor(DType::Float32, &[4, 3, 224, 224]).unwrap();
        assert_eq!(meta.strides(), &[602112, 200704, 896, 4]);
        assert_eq!(meta.size, 4 * 3 * 224 * 224 * 4);
        assert!(BufferMeta::tensor(DType::UInt8, &[1; 9]).is_err());
        assert!(BufferMeta::tensor(DType::UInt64, &[u64::MAX, 2]).is_err());
    }

    #[test]
    fn text_is_cut_at_a_character() {
        let mut meta = BufferMeta::default();
        meta.set_producer("ä".repeat(17).as_str());
        assert_eq!(meta.producer(), "ä".repeat(16));
        meta.producer = [0xff; 32];
        assert_eq!(meta.producer(), "");
    }

    proptest! {
        #[test]
        fn whatever_passes_the_check_lies_inside_the_frame(bytes in proptest::collection::vec(any::<u8>(), 384), ndim in 0u8..10, small in any::<bool>()) {
            let mut meta = BufferMeta::read_from_bytes(&bytes).unwrap();
            meta.ndim = ndim;
            meta.dtype %= 12;
            meta.storage_type %= 3;
            if small {
                for value in meta.shape.iter_mut().chain(&mut meta.strides) { *value %= 9 }
                meta.size %= 512;
            }
            if meta.check().is_ok() && !meta.shape().contains(&0) {
                let end: u128 = meta.shape().iter().zip(meta.strides())
                    .map(|(&n, &s)| (n as u128 - 1) * s as u128).sum::<u128>() + meta.dtype().size() as u128;
                prop_assert!(end <= meta.size as u128);
            }
        }
    }
}
