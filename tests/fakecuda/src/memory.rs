//! Memory that the engine reads and writes: of a device, or pinned memory of the host.

use std::ptr::NonNull;

use crate::devices::{self, Device};
use crate::result::{Code, Result};
use crate::settings;
use crate::shared::{HANDLE_SIZE, Purpose, SharedFile};

/// Memory, with the address at which the engine reaches it.
#[derive(Debug)]
pub struct Memory {
    data: NonNull<u8>,
    size: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Allocated by this process, counted in the memory of the device.
    Own(SharedFile, &'static Device),
    /// Allocated by another process.
    Imported(SharedFile),
    /// Memory of the host that this driver allocated.
    Pinned,
    /// Memory of the host that its owner registered.
    Registered,
}

// SAFETY: the memory is a mapping of this value, or of an owner that has promised to keep it.
unsafe impl Send for Memory {}
// SAFETY: as above. The engine accesses it through raw pointers only.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates memory of a device.
    pub fn create(device: i32, purpose: Purpose, size: usize) -> Result<Memory> {
        let device = devices::get(device)?;
        device.take(size)?;
        let file = SharedFile::create(purpose, size, device.uuid());
        let file = file.inspect_err(|_| device.give_back(size))?;
        let fill = settings::get().map_or(0, |settings| settings.fill);
        if fill != 0 {
            // SAFETY: the mapping has this size, and no other process or thread knows it.
            unsafe { file.data().write_bytes(fill, size) };
        }
        Ok(Memory {
            data: file.data(),
            size,
            kind: Kind::Own(file, device),
        })
    }

    /// Memory that another process created, by its descriptor.
    pub fn import(fd: i32) -> Result<Memory> {
        let file = SharedFile::import(fd, Purpose::Exportable)?;
        Memory::imported(file)
    }

    /// Memory of another process, by a handle of legacy IPC.
    pub fn open(handle: &[u8; HANDLE_SIZE]) -> Result<Memory> {
        let file = SharedFile::open(handle, Purpose::Allocation)?;
        Memory::imported(file)
    }

    fn imported(file: SharedFile) -> Result<Memory> {
        devices::ordinal(file.device())?;
        Ok(Memory {
            data: file.data(),
            size: file.size(),
            kind: Kind::Imported(file),
        })
    }

    /// Allocates memory of the host.
    pub fn pinned(size: usize) -> Result<Memory> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let data = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let data = NonNull::new(data.cast()).filter(|_| data != libc::MAP_FAILED);
        Ok(Memory {
            data: data.ok_or(Code::OUT_OF_MEMORY)?,
            size,
            kind: Kind::Pinned,
        })
    }

    /// Memory of the host that its owner keeps until it is unregistered.
    pub fn registered(address: u64, size: usize) -> Result<Memory> {
        let data = NonNull::new(std::ptr::with_exposed_provenance_mut(address as usize));
        Ok(Memory {
            data: data.ok_or(Code::INVALID_VALUE)?,
            size,
            kind: Kind::Registered,
        })
    }

    /// The beginning of the memory.
    pub fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The device, or `None` for memory of the host.
    pub fn device(&self) -> Option<i32> {
        let file = self.file().ok()?;
        devices::ordinal(file.device()).ok()
    }

    /// The memfd of device memory.
    pub fn file(&self) -> Result<&SharedFile> {
        match &self.kind {
            Kind::Own(file, _) | Kind::Imported(file) => Ok(file),
            Kind::Pinned | Kind::Registered => Err(Code::INVALID_VALUE),
        }
    }

    /// The bytes that count as memory of this process.
    pub fn counted(&self) -> usize {
        match self.kind {
            Kind::Own(..) => self.size,
            _ => 0,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Own(_, device) => device.give_back(self.size),
            Kind::Pinned => {
                // SAFETY: the mapping is of this size, and belongs to this value, which ends.
                unsafe { libc::munmap(self.data.as_ptr().cast(), self.size) };
            }
            Kind::Imported(_) | Kind::Registered => {}
        }
    }
}
