//! Memory of a CUDA device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;

use super::description::{DeviceDescription, MemoryDescription, MemoryKind};
use super::descriptor::Descriptor;
use crate::cuda::{Device, DeviceMemory, Export, IpcHandle};
use crate::error::{Error, Result};

/// The major number of the driver's devices (`/dev/nvidiactl`), in the kernel's list of devices.
const NVIDIA: u32 = 195;

/// Memory of a CUDA device: made by this process, or opened by what a producer has announced.
#[derive(Debug)]
pub(crate) struct CudaMemory {
    memory: DeviceMemory,
    name: Name,
    /// To the clients of the producer that made it or, in a client, as it was announced.
    kind: MemoryKind,
}

/// What other processes open it by.
#[derive(Debug)]
enum Name {
    /// `None` in a client that keeps no descriptor.
    Descriptor(Option<Descriptor>),
    Handle(IpcHandle),
}

impl CudaMemory {
    /// Makes at least `len` bytes.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where the device has not enough memory; [`Error::Cuda`].
    pub(super) fn create(device: &Device, len: usize) -> Result<CudaMemory> {
        let (memory, export) = DeviceMemory::create(device, len)?;
        let (name, kind) = match export {
            Export::Descriptor(fd) => {
                let name = Name::Descriptor(Some(Descriptor::needed(fd)));
                (name, MemoryKind::CudaVirtual)
            }
            Export::Handle(handle) => (Name::Handle(handle), MemoryKind::CudaIpc),
        };
        Ok(CudaMemory { memory, name, kind })
    }

    /// Opens memory of a producer, and keeps its descriptor where `keep` says so.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it is not what was announced; [`Error::Cuda`] where this process does not
    /// see the device.
    pub(super) fn open(
        described: MemoryDescription,
        size: usize,
        fd: Option<OwnedFd>,
        keep: bool,
    ) -> Result<CudaMemory> {
        let broken = |what: &str| Error::Protocol(what.into());
        let kind = described.kind;
        let described = described.device;
        let described = described.ok_or_else(|| broken("memory of a device that has no name"))?;
        let device = Device::by_uuid(described.uuid).map_err(Error::Cuda)?;
        match (fd, described.handle) {
            (Some(fd), None) => {
                let memory = DeviceMemory::import(&device, fd.as_fd(), size)?;
                let kept = keep.then(|| Descriptor::kept(fd));
                let name = Name::Descriptor(kept);
                Ok(CudaMemory { memory, name, kind })
            }
            (None, Some(handle)) => {
                let memory = DeviceMemory::open(&device, &handle, size)?;
                let name = Name::Handle(handle);
                Ok(CudaMemory { memory, name, kind })
            }
            _ => Err(broken(
                "memory of a device with too much or too little to open it by",
            )),
        }
    }

    /// Whether a descriptor may be of an allocation: the driver exports them as files of its devices.
    pub(super) fn may_be(fd: &OwnedFd) -> bool {
        let is_it = |stat: rustix::fs::Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && rustix::fs::major(stat.st_rdev) == NVIDIA
        };
        rustix::fs::fstat(fd).is_ok_and(is_it)
    }

    pub(super) fn kind(&self) -> MemoryKind {
        self.kind
    }

    pub(super) fn size(&self) -> usize {
        self.memory.size()
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.name {
            Name::Descriptor(descriptor) => descriptor.as_ref().map(Descriptor::fd),
            Name::Handle(_) => None,
        }
    }

    pub(super) fn memory(&self) -> &DeviceMemory {
        &self.memory
    }

    /// What clients are told of it.
    pub(super) fn describe(&self) -> DeviceDescription {
        DeviceDescription {
            uuid: self.memory.device().uuid(),
            handle: match self.name {
                Name::Descriptor(_) => None,
                Name::Handle(handle) => Some(handle),
            },
        }
    }
}
