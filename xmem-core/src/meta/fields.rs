//! What a record says, as the types of Rust; and what a producer may set.

use std::time::{Duration, SystemTime};

use zerocopy::{FromBytes, IntoBytes};

use super::{
    BufferMeta, FLAG_DEPENDENT, FLAG_LEADING, FLAGS_RESERVED, FLAGS_ROLE, NONE, Role, fixed, text,
};
use crate::dtype::{DType, MAX_NDIM, StorageType};
use crate::error::Result;

/// The structure of the frame's bytes. It is set by the record's constructors.
impl BufferMeta {
    /// The type of an element.
    pub fn dtype(&self) -> DType {
        // Only a record that was not checked has a number without a type.
        DType::from_u8(self.dtype).unwrap_or(DType::UInt8)
    }

    /// Elements along each dimension, outermost first. At most [`MAX_NDIM`] dimensions.
    pub fn shape(&self) -> &[u64] {
        &self.shape[..(self.ndim as usize).min(MAX_NDIM)]
    }

    /// Bytes from one element to the next along each dimension, outermost first.
    pub fn strides(&self) -> &[u64] {
        &self.strides[..(self.ndim as usize).min(MAX_NDIM)]
    }

    /// Bytes of the frame. `publish` sets it to the bytes that were published.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// What `publish` writes: where the frame is, in the stream and in memory.
impl BufferMeta {
    /// The frame's position in the stream, counted from 0.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The number of the slot that the frame is in.
    pub fn slot(&self) -> u32 {
        self.id
    }

    /// The number of the segment that the frame's bytes are in.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Where the frame's bytes begin in their segment, in bytes.
    pub fn payload_offset(&self) -> u64 {
        self.payload_offset
    }

    /// Bytes of the [variable data](crate::Frame::extra) that goes with the frame.
    pub fn extra_len(&self) -> u32 {
        self.extra_len
    }

    /// The number of the last [event](crate::StreamEvent::number) before the frame, `None` where there
    /// was none.
    pub fn event(&self) -> Option<u64> {
        (self.event != 0).then_some(self.event)
    }

    /// When the frame was published, by the producer's clock. The unit is a millisecond.
    pub fn timestamp(&self) -> SystemTime {
        // At most 2^64 milliseconds: less than the 2^63 seconds that a time of the system has.
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.timestamp)
    }
}

/// Times, in nanoseconds on the wire. `None` where they are not known.
impl BufferMeta {
    /// When to show the frame, on `CLOCK_MONOTONIC` (see [`monotonic_time`](crate::monotonic_time)). A
    /// client in another time namespace gets it on its own clock. GStreamer's latency is not included.
    pub fn pts(&self) -> Option<Duration> {
        time(self.pts)
    }

    /// Sets [`pts`](BufferMeta::pts). A time beyond 2^64 - 2 ns becomes that.
    pub fn set_pts(&mut self, pts: Option<Duration>) {
        self.pts = nanoseconds(pts);
    }

    /// When to decode the frame, on `CLOCK_MONOTONIC`, as [`pts`](BufferMeta::pts).
    pub fn dts(&self) -> Option<Duration> {
        time(self.dts)
    }

    /// Sets [`dts`](BufferMeta::dts).
    pub fn set_dts(&mut self, dts: Option<Duration>) {
        self.dts = nanoseconds(dts);
    }

    /// How long the frame lasts.
    pub fn duration(&self) -> Option<Duration> {
        time(self.duration)
    }

    /// Sets [`duration`](BufferMeta::duration).
    pub fn set_duration(&mut self, duration: Option<Duration>) {
        self.duration = nanoseconds(duration);
    }

    /// The presentation time on the producer's own timeline; for GStreamer the buffer's PTS in its
    /// segment. [`pts`](BufferMeta::pts) is the same moment on `CLOCK_MONOTONIC`.
    pub fn stream_pts(&self) -> Option<Duration> {
        time(self.stream_pts)
    }

    /// Sets [`stream_pts`](BufferMeta::stream_pts).
    pub fn set_stream_pts(&mut self, pts: Option<Duration>) {
        self.stream_pts = nanoseconds(pts);
    }

    /// The decoding time on the producer's own timeline, as [`stream_pts`](BufferMeta::stream_pts).
    pub fn stream_dts(&self) -> Option<Duration> {
        time(self.stream_dts)
    }

    /// Sets [`stream_dts`](BufferMeta::stream_dts).
    pub fn set_stream_dts(&mut self, dts: Option<Duration>) {
        self.stream_dts = nanoseconds(dts);
    }
}

/// What the producer says of the frame. xmem passes it on and checks nothing of it.
impl BufferMeta {
    /// The producer's media-specific offset of the frame: a frame number, or a byte of a file.
    pub fn offset(&self) -> Option<u64> {
        (self.offset != NONE).then_some(self.offset)
    }

    /// Sets [`offset`](BufferMeta::offset). `u64::MAX` stands for `None`.
    pub fn set_offset(&mut self, offset: Option<u64>) {
        self.offset = offset.unwrap_or(NONE);
    }

    /// The offset after the frame's last sample or byte.
    pub fn offset_end(&self) -> Option<u64> {
        (self.offset_end != NONE).then_some(self.offset_end)
    }

    /// Sets [`offset_end`](BufferMeta::offset_end). `u64::MAX` stands for `None`.
    pub fn set_offset_end(&mut self, offset: Option<u64>) {
        self.offset_end = offset.unwrap_or(NONE);
    }

    /// The producer's flags; for GStreamer those of the buffer. The four lowest bits are 0.
    pub fn flags(&self) -> u32 {
        self.flags & !FLAGS_RESERVED
    }

    /// Sets [`flags`](BufferMeta::flags). The four lowest bits are xmem's: they stay as they are.
    pub fn set_flags(&mut self, flags: u32) {
        self.flags = (self.flags & FLAGS_RESERVED) | (flags & !FLAGS_RESERVED);
    }

    /// Whether a client can begin with the frame.
    pub fn role(&self) -> Role {
        match self.flags & FLAGS_ROLE {
            0 => Role::SyncPoint,
            FLAG_LEADING => Role::Leading,
            _ => Role::Dependent,
        }
    }

    /// Sets whether a client can begin with the frame. A client that joins receives the frames from the
    /// newest sync point on, where the producer [keeps](crate::PublisherBuilder::keep_group) them.
    pub fn set_role(&mut self, role: Role) {
        self.flags &= !FLAGS_ROLE;
        self.flags |= match role {
            Role::SyncPoint => 0,
            Role::Leading => FLAG_LEADING,
            Role::Dependent => FLAG_DEPENDENT,
        };
    }

    /// The media type, `video/x-raw` for example; empty where the producer names none.
    pub fn content_type(&self) -> &str {
        text(&self.content_type)
    }

    /// Sets the media type, of at most 32 bytes: the rest is cut off at a character's end.
    pub fn set_content_type(&mut self, name: &str) {
        self.content_type = fixed(name);
    }

    /// The name of the program that made the frame.
    pub fn producer(&self) -> &str {
        text(&self.producer)
    }

    /// Sets the name of the program that made the frame, of at most 32 bytes: the rest is cut off at a
    /// character's end. Where it is empty, `publish` sets the
    /// [publisher's name](crate::PublisherBuilder::producer_name).
    pub fn set_producer(&mut self, name: &str) {
        self.producer = fixed(name);
    }
}

/// The kind of memory, which `publish` writes.
impl BufferMeta {
    /// The kind of memory that the frame is in.
    pub fn storage_type(&self) -> StorageType {
        // Only a record that was not checked has a number without a storage.
        StorageType::from_u8(self.storage_type).unwrap_or(StorageType::Cpu)
    }

    /// The number of the device in the producer's process, for storage on a device. Other processes may
    /// number the devices otherwise: see [`Frame::device`](crate::Frame::device).
    pub fn device_id(&self) -> u8 {
        self.device_id
    }

    /// The `CUipcMemHandle` of the segment that the frame is in, where its memory is passed by one; zeros
    /// otherwise. xmem has opened it.
    pub fn cuda_ipc_handle(&self) -> &[u8; 64] {
        &self.cuda_ipc_handle
    }
}

/// The wire form, for a recorder or a bridge to another transport.
impl BufferMeta {
    /// Bytes of a record.
    pub const SIZE: usize = size_of::<BufferMeta>();

    /// The record as it stands in shared memory.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }

    /// The record that [`to_bytes`](BufferMeta::to_bytes) has written.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol) where the element type, the storage or the number of
    /// dimensions is not known, or an element lies beyond the frame's size.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<BufferMeta> {
        let meta = BufferMeta::read_from_bytes(bytes).expect("as many bytes as a record has");
        meta.check()?;
        Ok(meta)
    }
}

fn time(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds != NONE).then(|| Duration::from_nanos(nanoseconds))
}

fn nanoseconds(time: Option<Duration>) -> u64 {
    time.map_or(NONE, |time| {
        u64::try_from(time.as_nanos()).map_or(NONE - 1, |time| time.min(NONE - 1))
    })
}
