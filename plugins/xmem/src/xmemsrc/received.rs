//! What the source receives, why it does not push a frame, and what it counts.

use std::fmt;

use xmem_core::cuda::{Device, Uuid};
use xmem_core::{Frame, Grant};

use crate::memory::kind::CapsMemory;
use crate::metas::{Unfit, UnfitKind};

/// Why a frame cannot become a buffer: the meta with this name does not fit the frame. This is not
/// a violation of the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unusable(pub(super) &'static str, pub(super) Unfit);

impl Unusable {
    /// Returns what all frames with this problem have in common, whatever their numbers.
    pub(super) fn kind(&self) -> FrameKind {
        (self.0, self.1.kind())
    }
}

pub(super) type FrameKind = (&'static str, UnfitKind);

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "its {} does not fit the frame: {}", self.0, self.1)
    }
}

/// Why a frame is not pushed.
pub(super) enum NotPushed {
    /// Its time was over before the pipeline started.
    Early,
    /// It cannot be decoded without frames that are lost.
    Skipped,
    /// It is pushed with the frame after it, if that one is.
    Kept,
    Unusable(Unusable),
}

/// The counters of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) received: u64,
    pub(super) missed: u64,
    pub(super) copied: u64,
    pub(super) copied_device: u64,
    pub(super) early: u64,
    pub(super) skipped: u64,
    pub(super) starved: u64,
    pub(super) grant: Grant,
    pub(super) connections: u64,
    pub(super) connected: bool,
    /// The memory of the last frame.
    pub(super) storage: Option<CapsMemory>,
    /// The CUDA device of the last frame, and whether it refuses writes by this process.
    pub(super) device: Option<(Uuid, bool)>,
}

/// An item that was received, after the events that the receiver pushes before it.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are frames, and a box would be an allocation for each"
)]
pub(super) enum Received {
    Frame(Frame),
    /// No item yet.
    Nothing,
    /// The end of the stream.
    End,
}

impl Figures {
    /// Notes the memory of a frame.
    pub(super) fn note_memory(&mut self, frame: &Frame) {
        self.storage = Some(CapsMemory::of_frame(frame));
        let device = frame.device().map(Device::uuid);
        self.device = device.map(|device| (device, frame.is_device_read_only()));
    }

    /// Returns the value of the property `stats`.
    pub(super) fn stats(&self) -> gst::Structure {
        let stats = gst::Structure::builder("application/x-xmemsrc-stats")
            .field("received", self.received)
            .field("missed", self.missed)
            .field("copied", self.copied)
            .field("copied-device", self.copied_device)
            .field("early", self.early)
            .field("skipped", self.skipped)
            .field("starved", self.starved)
            .field("leases", self.grant.quota.leases)
            .field("backlog", self.grant.quota.backlog)
            .field("connections", self.connections)
            .field("connected", self.connected)
            .field_if_some("storage", self.storage.map(CapsMemory::feature))
            .field_if_some("device", self.device.map(|(device, _)| device.to_string()))
            .field_if_some("read-only-mapping", self.device.map(|(_, refuses)| refuses));
        stats.build()
    }
}
