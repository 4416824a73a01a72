//! Memory of a device that processes share: made and exported, imported and mapped.
//!
//! Two ways lead to it. With virtual memory management an allocation has a descriptor, and lives as long as
//! any process has it. With legacy IPC it has a handle of 64 bytes, and ends with the process that made it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use cudarc::driver::sys::CUdeviceptr;
use rustix::io::FdFlags;

use super::device::Device;
use super::driver::{
    self, ACCESS_READ, ACCESS_READ_WRITE, AccessDesc, Allocation, AllocationProp, CUipcMemHandle,
    Driver, IPC_LAZY_PEER_ACCESS, Location, POSIX_FILE_DESCRIPTOR,
};
use crate::error::{Error, Result};

mod errors;

use errors::{failed, foreign, of_another_device, out_of_memory, wanting};

/// The handle of an allocation that is passed in a message (`CUipcMemHandle`).
pub(crate) type IpcHandle = [u8; 64];

/// What an allocation is a multiple of that is passed by a handle: smaller ones are in one block with others,
/// which a process that opens the handle could read (CUDA Programming Guide, *Interprocess Communication*).
const BLOCK: usize = 2 << 20;

/// What other processes open an allocation by.
#[derive(Debug)]
pub(crate) enum Export {
    /// A descriptor. It keeps the memory.
    Descriptor(OwnedFd),
    /// A handle, which is of use while the process that made it lives.
    Handle(IpcHandle),
}

/// Memory of a device, in the address space of this process.
///
/// Invariant, upheld by the constructors: `size` bytes from `address` are mapped until the drop.
pub(crate) struct DeviceMemory {
    device: Device,
    address: CUdeviceptr,
    size: usize,
    way: Way,
    is_read_only: bool,
}

/// How the memory came here, and how it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Mapped,
    Allocated,
    Opened,
}

impl DeviceMemory {
    /// Makes memory of at least `len` bytes, all of them 0: as much as the device allocates at once. Its
    /// bytes may be what another process has left there, so they are cleared.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where the device has not enough; [`Error::Cuda`].
    pub(crate) fn create(device: &Device, len: usize) -> Result<(DeviceMemory, Export)> {
        let made = if device.can_export() {
            create_exportable(device, len)
        } else {
            allocate(device, len)
        };
        let (memory, export) = made?;
        memory.clear()?;
        Ok((memory, export))
    }

    /// Imports an allocation of `size` bytes by its descriptor, to be read.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it is no allocation of that size on that device; [`Error::Cuda`];
    /// [`Error::ResourceExhausted`].
    pub(crate) fn import(device: &Device, fd: BorrowedFd<'_>, size: usize) -> Result<DeviceMemory> {
        let driver = device.driver();
        let _current = device.enter()?;
        let granularity = granularity(device)?;
        if !size.is_multiple_of(granularity) || size as u64 > device.memory() {
            return Err(Error::Protocol(format!(
                "an allocation of {size} bytes, on a device that allocates {granularity} at once and \
                 has {}",
                device.memory()
            )));
        }
        let mut allocation = 0;
        // For a descriptor, the number itself stands in place of the pointer.
        let handle = fd.as_raw_fd() as usize as *mut c_void;
        // SAFETY: it writes a handle, and looks at the descriptor, which is open.
        let imported = unsafe { driver.import(&mut allocation, handle, POSIX_FILE_DESCRIPTOR) };
        imported.map_err(foreign("cuMemImportFromShareableHandle"))?;
        let allocation = Owned(driver, allocation);
        let mut prop = AllocationProp::default();
        // SAFETY: it writes the properties of the allocation.
        unsafe { driver.properties(&mut prop, allocation.1) }
            .map_err(failed("cuMemGetAllocationPropertiesFromHandle"))?;
        if prop.location != Location::device(device.handle()) {
            return Err(of_another_device());
        }
        map(device, &allocation, size, Access::Read)
    }

    /// Opens an allocation of at least `size` bytes by its handle.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it has less, or is of another device; [`Error::Cuda`].
    pub(crate) fn open(device: &Device, handle: &IpcHandle, size: usize) -> Result<DeviceMemory> {
        let driver = device.driver();
        let _current = device.enter()?;
        let mut address = 0;
        let handle = CUipcMemHandle {
            reserved: handle.map(|byte| byte as _),
        };
        // SAFETY: it writes an address. The driver checks the handle, and counts how often it is opened.
        unsafe { driver.ipc_open(&mut address, handle, IPC_LAZY_PEER_ACCESS) }
            .map_err(failed("cuIpcOpenMemHandle"))?;
        let memory = DeviceMemory {
            device: device.clone(),
            address,
            size,
            way: Way::Opened,
            is_read_only: false,
        };
        let (mut base, mut len) = (0, 0);
        // SAFETY: it writes two numbers.
        unsafe { driver.address_range(&mut base, &mut len, address) }
            .map_err(failed("cuMemGetAddressRange"))?;
        if base != address || len < size {
            return Err(Error::Protocol(format!(
                "an allocation of {len} bytes, {size} were announced"
            )));
        }
        // A handle can be opened in a context of another device, where devices have access to each other.
        let mut ordinal: c_int = -1;
        let into: *mut c_int = &mut ordinal;
        // SAFETY: it writes a number of this type.
        unsafe { driver.pointer_attribute(into.cast(), driver::POINTER_DEVICE, address) }
            .map_err(failed("cuPointerGetAttribute"))?;
        if u32::try_from(ordinal) != Ok(device.ordinal()) {
            return Err(of_another_device());
        }
        Ok(memory)
    }

    /// The address of its first byte on the device, in all contexts of this process.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the device refuses to write it from here.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Copies bytes from `offset` to memory of the CPU, and waits until they are there.
    ///
    /// # Panics
    /// Where the range is not inside the memory.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(into.len());
        assert!(
            end.is_some_and(|end| end <= self.size),
            "outside of the memory"
        );
        let driver = self.device.driver();
        let _current = self.device.enter()?;
        let from = self.address + offset as u64;
        // SAFETY: both ranges are valid: one is a slice, the other inside of the mapping, as was checked.
        unsafe { driver.copy_to_host(into.as_mut_ptr().cast(), from, into.len()) }
            .map_err(failed("cuMemcpyDtoH"))
    }

    fn clear(&self) -> Result<()> {
        let driver = self.device.driver();
        let _current = self.device.enter()?;
        let mut stream = null_mut();
        // SAFETY: it writes a handle, which is destroyed below. No other stream waits for this one.
        unsafe { driver.create_stream(&mut stream, driver::STREAM_NON_BLOCKING) }
            .map_err(failed("cuStreamCreate"))?;
        // SAFETY: the range is the mapping; the stream was made above.
        let filled = unsafe { driver.fill(self.address, 0, self.size, stream) }
            // SAFETY: as above.
            .and_then(|()| unsafe { driver.wait_for_stream(stream) });
        // SAFETY: as above, and it is not used after this.
        let _ = unsafe { driver.destroy_stream(stream) };
        filled.map_err(failed("cuMemsetD8Async"))
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // A forked child has none of it.
        let Ok(_current) = self.device.enter() else {
            return;
        };
        let driver = self.device.driver();
        // SAFETY: it was mapped, allocated or opened once, and no work on the device uses it: frames in it
        // hold their segment until that work is done.
        let _ = unsafe {
            match self.way {
                Way::Mapped => driver
                    .unmap(self.address, self.size)
                    .and_then(|()| driver.free_range(self.address, self.size)),
                Way::Allocated => driver.free(self.address),
                Way::Opened => driver.ipc_close(self.address),
            }
        };
    }
}

impl std::fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceMemory")
            .field("device", &self.device)
            .field("size", &self.size)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

/// An allocation's handle, which is released by the drop. The memory stays while it is mapped.
struct Owned(&'static Driver, Allocation);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it was created or imported once.
        let _ = unsafe { self.0.release(self.1) };
    }
}

/// Addresses without memory, which the drop gives back.
struct Reserved(&'static Driver, CUdeviceptr, usize);

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: it was reserved once, and nothing is mapped there.
        let _ = unsafe { self.0.free_range(self.1, self.2) };
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    ReadWrite,
}

fn create_exportable(device: &Device, len: usize) -> Result<(DeviceMemory, Export)> {
    let driver = device.driver();
    let _current = device.enter()?;
    let size = len.checked_next_multiple_of(granularity(device)?);
    let size = size.ok_or_else(|| out_of_memory(device, len))?;
    let prop = AllocationProp::exportable(device.handle());
    let mut allocation = 0;
    // SAFETY: it writes a handle.
    unsafe { driver.create(&mut allocation, size, &prop, 0) }.map_err(wanting(
        device,
        len,
        "cuMemCreate",
    ))?;
    let allocation = Owned(driver, allocation);
    let mut fd = -1;
    let into: *mut i32 = &mut fd;
    // SAFETY: it writes a descriptor's number.
    unsafe { driver.export(into.cast(), allocation.1, POSIX_FILE_DESCRIPTOR, 0) }
        .map_err(failed("cuMemExportToShareableHandle"))?;
    // SAFETY: the driver has opened it for the caller.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)
        .map_err(Error::memory("keeping a descriptor from children"))?;
    let memory = map(device, &allocation, size, Access::ReadWrite)?;
    Ok((memory, Export::Descriptor(fd)))
}

/// Maps the whole of an allocation.
fn map(device: &Device, allocation: &Owned, size: usize, access: Access) -> Result<DeviceMemory> {
    let driver = device.driver();
    let mut address = 0;
    // SAFETY: it writes an address.
    unsafe { driver.reserve(&mut address, size, 0, 0, 0) }.map_err(wanting(
        device,
        size,
        "cuMemAddressReserve",
    ))?;
    let reserved = Reserved(driver, address, size);
    // SAFETY: the range was reserved above. The driver refuses a size that is not the allocation's.
    unsafe { driver.map(address, size, 0, allocation.1, 0) }.map_err(foreign("cuMemMap"))?;
    std::mem::forget(reserved);
    let mut memory = DeviceMemory {
        device: device.clone(),
        address,
        size,
        way: Way::Mapped,
        is_read_only: access == Access::Read,
    };
    let allow = |flags| {
        let desc = AccessDesc {
            location: Location::device(device.handle()),
            flags,
        };
        // SAFETY: the range is mapped, and one description is passed.
        unsafe { driver.set_access(address, size, &desc, 1) }
    };
    let mut allowed = match access {
        Access::Read => allow(ACCESS_READ),
        Access::ReadWrite => allow(ACCESS_READ_WRITE),
    };
    if access == Access::Read && allowed.is_err() {
        // Some devices map memory for reading and writing only.
        memory.is_read_only = false;
        allowed = allow(ACCESS_READ_WRITE);
    }
    allowed.map_err(failed("cuMemSetAccess"))?;
    Ok(memory)
}

fn allocate(device: &Device, len: usize) -> Result<(DeviceMemory, Export)> {
    let driver = device.driver();
    let _current = device.enter()?;
    let size = len.checked_next_multiple_of(BLOCK);
    let size = size.ok_or_else(|| out_of_memory(device, len))?;
    let mut address = 0;
    // SAFETY: it writes an address.
    unsafe { driver.allocate(&mut address, size) }.map_err(wanting(device, len, "cuMemAlloc"))?;
    let memory = DeviceMemory {
        device: device.clone(),
        address,
        size,
        way: Way::Allocated,
        is_read_only: false,
    };
    let mut handle = CUipcMemHandle { reserved: [0; 64] };
    // SAFETY: it writes 64 bytes.
    unsafe { driver.ipc_handle(&mut handle, address) }.map_err(failed("cuIpcGetMemHandle"))?;
    let handle = handle.reserved.map(|byte| byte as u8);
    Ok((memory, Export::Handle(handle)))
}

/// Bytes that the device allocates at once.
fn granularity(device: &Device) -> Result<usize> {
    let prop = AllocationProp::exportable(device.handle());
    let mut granularity = 0;
    // SAFETY: it reads a record and writes a number.
    unsafe { device.driver().granularity(&mut granularity, &prop, 0) }
        .map_err(failed("cuMemGetAllocationGranularity"))?;
    Ok(granularity.max(1))
}
