//! The kinds of memory. The one room in which they meet: other rooms ask [`MemoryKind`] and
//! [`CapsMemory`], and match on neither.
//!
//! A new kind is a variant here, a file beside this one that makes, recognizes and imports such
//! memory, and a row of [`ROWS`] if caps have a feature for it.

use std::os::fd::BorrowedFd;

use xmem_core::{Error, Frame, ImportedMemory, Result};

use super::fd::{self, FileId};
use super::frame::{self, frame_of};
use super::slot::{self, SlotCell, slot_of};
use super::{cuda_frame, cuda_slot};
use crate::cuda::CudaMemory;

/// What a memory of a buffer is, and how it is reached.
#[derive(Clone, Copy)]
pub(crate) enum MemoryKind<'a> {
    /// A slot of a publisher of this process.
    Slot(&'a SlotCell),
    /// A received frame, with a descriptor or in memory of a CUDA device.
    Frame(&'a Frame),
    /// Fd-backed memory that another element made.
    Fd(BorrowedFd<'a>),
    /// Any other memory. Only the CPU reads it, or only a device.
    Other,
}

/// Returns the kind of a memory. Asked once for each memory of a buffer.
pub(crate) fn classify(memory: &gst::MemoryRef) -> MemoryKind<'_> {
    if let Some(slot) = slot_of(memory) {
        MemoryKind::Slot(slot)
    } else if let Some(frame) = frame_of(memory) {
        MemoryKind::Frame(frame)
    } else if let Some(memory) = CudaMemory::of(memory) {
        let frame = || cuda_frame::frame_of(memory).map(MemoryKind::Frame);
        let slot = cuda_slot::slot_of(memory).map(MemoryKind::Slot);
        slot.or_else(frame).unwrap_or(MemoryKind::Other)
    } else {
        fd::descriptor(memory).map_or(MemoryKind::Other, MemoryKind::Fd)
    }
}

impl<'a> MemoryKind<'a> {
    /// Returns the slot, if the memory is one.
    pub(crate) fn slot(self) -> Option<&'a SlotCell> {
        match self {
            MemoryKind::Slot(slot) => Some(slot),
            _ => None,
        }
    }

    /// Returns the received frame in which the memory lies.
    pub(crate) fn frame(self) -> Option<&'a Frame> {
        match self {
            MemoryKind::Frame(frame) => Some(frame),
            _ => None,
        }
    }

    /// Returns whether this is memory of another element that may be imported.
    pub(crate) fn is_importable(self) -> bool {
        matches!(self, MemoryKind::Fd(_))
    }

    /// Returns what identifies memory of another element, `None` if such memory cannot be imported.
    /// Some elements wrap the same memory in a new `GstMemory` for each frame.
    pub(crate) fn id(self) -> Option<FileId> {
        match self {
            MemoryKind::Fd(fd) => FileId::of(fd),
            _ => None,
        }
    }

    /// Imports memory of another element.
    ///
    /// # Errors
    /// Those of [`ImportedMemory::new`]. `None` if memory of this kind cannot be imported.
    pub(crate) fn import(self) -> Option<Result<ImportedMemory>> {
        match self {
            MemoryKind::Fd(fd) => Some(ImportedMemory::new(fd)),
            _ => None,
        }
    }
}

/// The memory of frames, as the features of caps name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CapsMemory {
    /// Memory that the CPU reads.
    System,
    /// Memory of a CUDA device. Only work on the device reads it.
    Cuda,
    /// Dmabufs. Only a device may know how their bytes are laid out.
    DmaBuf,
}

/// What is known of a [`CapsMemory`].
struct Row {
    memory: CapsMemory,
    feature: &'static str,
    /// The name of one such memory.
    name: &'static str,
    /// A copy of the bytes in a slot is the same frame. Otherwise each frame has to be imported.
    can_be_copied: bool,
    /// The CPU writes and reads the slots.
    is_for_cpu: bool,
}

/// All kinds of memory that can cross, the preferred one first.
const ROWS: [Row; 3] = [
    Row {
        memory: CapsMemory::System,
        feature: "memory:SystemMemory",
        name: "system memory",
        can_be_copied: true,
        is_for_cpu: true,
    },
    Row {
        memory: CapsMemory::Cuda,
        feature: "memory:CUDAMemory",
        name: "memory of a CUDA device",
        can_be_copied: true,
        is_for_cpu: false,
    },
    Row {
        memory: CapsMemory::DmaBuf,
        feature: "memory:DMABuf",
        name: "dmabuf",
        can_be_copied: false,
        is_for_cpu: true,
    },
];

impl CapsMemory {
    fn row(self) -> &'static Row {
        let row = ROWS.iter().find(|row| row.memory == self);
        row.expect("each has a row")
    }

    /// Returns the memory that these features name. ANY names none.
    ///
    /// # Errors
    /// The feature of memory that cannot cross.
    pub(crate) fn of(features: &gst::CapsFeaturesRef) -> std::result::Result<CapsMemory, String> {
        let named = features.iter().map(|feature| feature.as_str());
        let mut found = CapsMemory::System;
        for feature in named.filter(|feature| feature.starts_with("memory:")) {
            let row = ROWS.iter().find(|row| row.feature == feature);
            let row = row.ok_or_else(|| feature.to_string())?;
            if row.memory != CapsMemory::System {
                found = row.memory;
            }
        }
        Ok(found)
    }

    /// Returns the memory of a received frame.
    pub(crate) fn of_frame(frame: &Frame) -> CapsMemory {
        if frame.is_dma_buf() {
            CapsMemory::DmaBuf
        } else if frame.device().is_some() {
            CapsMemory::Cuda
        } else {
            CapsMemory::System
        }
    }

    /// Returns the feature that names the memory.
    pub(crate) fn feature(self) -> &'static str {
        self.row().feature
    }

    /// Returns the name of one such memory.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns whether a copy of the bytes is the same frame. Such memory can be replaced by slots.
    pub(crate) fn can_be_copied(self) -> bool {
        self.row().can_be_copied
    }

    /// Returns whether the CPU writes and reads slots of such frames. Otherwise a device does.
    pub(crate) fn is_for_cpu(self) -> bool {
        self.row().is_for_cpu
    }

    /// Returns the structures of caps that the sink accepts: those of the preferred memory that the
    /// caps offer, because not every element behind a client accepts others. `imports` says whether
    /// the sink imports memory.
    pub(crate) fn accepted(caps: &gst::Caps, imports: bool) -> gst::Caps {
        let of = |row: &Row| -> gst::Caps {
            caps.iter_with_features()
                .filter(|(_, features)| CapsMemory::of(features) == Ok(row.memory))
                .map(|(structure, features)| (structure.to_owned(), features.to_owned()))
                .collect()
        };
        let rows = ROWS.iter().filter(|row| row.can_be_copied || imports);
        let accepted = rows.map(of).find(|caps| !caps.is_empty());
        accepted.unwrap_or_else(gst::Caps::new_empty)
    }
}

/// Returns the memory of a received frame that the CPU reads or that is a dmabuf. Freeing it gives the
/// frame back. `with_descriptor` says whether elements may get the descriptor of memory that the CPU reads.
///
/// # Errors
/// Those of [`Frame::payload`].
pub(crate) fn memory_of(frame: Frame, with_descriptor: bool) -> Result<gst::Memory> {
    match CapsMemory::of_frame(&frame) {
        CapsMemory::DmaBuf => frame::wrap_dma_buf(frame),
        CapsMemory::Cuda => Err(Error::BadMemory(
            "the frame is in memory of a CUDA device".into(),
        )),
        CapsMemory::System if with_descriptor => frame::wrap(frame),
        CapsMemory::System => slot::frame_memory(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn memory_that_can_be_copied_is_preferred() {
        let all = caps(
            "video/x-raw(memory:GLMemory),format=RGBA; video/x-raw(memory:DMABuf),format=NV12; \
             video/x-raw,format=RGB",
        );
        for imports in [false, true] {
            let left = CapsMemory::accepted(&all, imports);
            assert_eq!(left.to_string(), "video/x-raw, format=(string)RGB");
        }
        let any = caps("video/x-raw(ANY),format=RGB");
        assert_eq!(CapsMemory::accepted(&any, true), any);
        // As in a plain pipeline, system memory is preferred to that of a device.
        let decoder = caps(
            "video/x-raw(memory:DMABuf),format=NV12; video/x-raw(memory:CUDAMemory),format=NV12; \
             video/x-raw,format=NV12",
        );
        let left = CapsMemory::accepted(&decoder, true);
        assert_eq!(left.to_string(), "video/x-raw, format=(string)NV12");
        let devices = caps(
            "video/x-raw(memory:DMABuf),format=NV12; video/x-raw(memory:CUDAMemory),format=NV12",
        );
        let left = CapsMemory::accepted(&devices, true);
        assert_eq!(left.size(), 1);
        assert_eq!(
            CapsMemory::of(left.features(0).unwrap()),
            Ok(CapsMemory::Cuda)
        );
        // An element that offers nothing else may offer dmabufs.
        let devices = caps(
            "video/x-raw(memory:GLMemory),format=RGBA; video/x-raw(memory:DMABuf),format=NV12",
        );
        assert!(CapsMemory::accepted(&devices, false).is_empty());
        let left = CapsMemory::accepted(&devices, true);
        assert_eq!(left.size(), 1);
        assert_eq!(
            CapsMemory::of(left.features(0).unwrap()),
            Ok(CapsMemory::DmaBuf)
        );
    }

    #[test]
    fn features_name_one_memory_or_none() {
        let of = |text: &str| CapsMemory::of(caps(text).features(0).unwrap());
        assert_eq!(of("video/x-raw,format=RGB"), Ok(CapsMemory::System));
        let overlays = "video/x-raw(memory:DMABuf,meta:GstVideoOverlayComposition),format=RGB";
        assert_eq!(of(overlays), Ok(CapsMemory::DmaBuf));
        let cuda = "video/x-raw(memory:CUDAMemory),format=NV12";
        assert_eq!(of(cuda), Ok(CapsMemory::Cuda));
        let device = "video/x-raw(memory:GLMemory),format=RGBA";
        assert_eq!(of(device), Err("memory:GLMemory".into()));
    }

    #[test]
    fn memory_without_a_descriptor_is_read_by_the_cpu() {
        gst::init().unwrap();
        let memory = gst::Memory::from_slice([0; 4]);
        let kind = classify(&memory);
        assert!(kind.slot().is_none() && kind.frame().is_none());
        assert!(kind.id().is_none() && kind.import().is_none());
    }
}
