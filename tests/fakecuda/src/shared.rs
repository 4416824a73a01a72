//! Memory that several processes can map: a memfd with a label behind its content.
//!
//! The label says what the memory is and of which device, so that a process recognizes what another
//! one exported. The size is sealed.

use std::ffi::{CStr, CString, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use crate::result::{Code, Result};

/// Bytes reserved for the label.
const PAGE: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"fakecuda");
/// The size of `CUipcMemHandle` and `CUipcEventHandle`.
pub const HANDLE_SIZE: usize = 64;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Memory of `cuMemAlloc_v2`.
    Allocation = 1,
    /// Memory of `cuMemCreate` that can be exported.
    Exportable = 2,
    /// Memory of `cuMemCreate` that cannot.
    Private = 3,
    /// The words of an event.
    Event = 4,
}

/// The label behind the content.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Label {
    magic: u64,
    purpose: u64,
    size: u64,
    device: [u8; 16],
    /// Random, so that a handle cannot lead to other memory under the same descriptor.
    id: [u8; 16],
}

/// A handle of legacy IPC, as it crosses to other processes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Handle {
    magic: u64,
    pid: u32,
    fd: RawFd,
    id: [u8; 16],
    rest: [u8; 32],
}

/// A mapped memfd. Dropping the value unmaps and closes it.
#[derive(Debug)]
pub struct SharedFile {
    file: OwnedFd,
    data: NonNull<u8>,
    label: Label,
}

// SAFETY: the mapping belongs to this value, and everything in it is read and written as memory that
// other processes share.
unsafe impl Send for SharedFile {}
// SAFETY: as above.
unsafe impl Sync for SharedFile {}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Label({}, {} bytes)", self.purpose, self.size)
    }
}

impl SharedFile {
    /// Creates memory of zeros.
    pub fn create(purpose: Purpose, size: usize, device: [u8; 16]) -> Result<SharedFile> {
        let whole = size.checked_next_multiple_of(PAGE);
        let whole = whole.and_then(|size| size.checked_add(PAGE));
        let whole = whole.and_then(|size| i64::try_from(size).ok());
        let whole = whole.ok_or(Code::OUT_OF_MEMORY)?;
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let file = memfd(c"fakecuda", flags)?;
        let mut id = [0; 16];
        // SAFETY: the buffer has this size.
        let random = unsafe { libc::getrandom(id.as_mut_ptr().cast(), id.len(), 0) };
        let label = Label {
            magic: MAGIC,
            purpose: purpose as u64,
            size: size as u64,
            device,
            id,
        };
        // SAFETY: the descriptor is open, and the label is plain bytes of this size.
        let written = unsafe {
            libc::ftruncate(file.as_raw_fd(), whole) == 0
                && libc::pwrite(
                    file.as_raw_fd(),
                    (&raw const label).cast(),
                    size_of::<Label>(),
                    whole - PAGE as i64,
                ) == size_of::<Label>() as isize
                && libc::fcntl(
                    file.as_raw_fd(),
                    libc::F_ADD_SEALS,
                    libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL,
                ) == 0
        };
        if !written || random != id.len() as isize {
            return Err(Code::OPERATING_SYSTEM);
        }
        SharedFile::map(file, label)
    }

    /// Maps the memory behind a descriptor, which stays open. It has to be of this purpose.
    pub fn import(fd: RawFd, purpose: Purpose) -> Result<SharedFile> {
        // SAFETY: the call takes no pointer, and fails if there is no such descriptor.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: the descriptor is new and belongs to this call.
        let file = unsafe { OwnedFd::from_raw_fd(copy) };
        let label = read_label(&file).ok_or(Code::INVALID_VALUE)?;
        if label.purpose != purpose as u64 {
            return Err(Code::INVALID_VALUE);
        }
        // A descriptor that was opened for reading cannot be mapped.
        SharedFile::map(file, label).map_err(|_| Code::INVALID_VALUE)
    }

    /// Opens the memory that a handle of another process names.
    pub fn open(handle: &[u8; HANDLE_SIZE], purpose: Purpose) -> Result<SharedFile> {
        let handle = Handle::read(handle).ok_or(Code::INVALID_HANDLE)?;
        if handle.pid == std::process::id() {
            return Err(Code::INVALID_CONTEXT);
        }
        let path = format!("/proc/{}/fd/{}", handle.pid, handle.fd);
        let path = CString::new(path).map_err(|_| Code::INVALID_HANDLE)?;
        // SAFETY: the path ends with a zero.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if fd < 0 {
            return Err(Code::INVALID_HANDLE);
        }
        // SAFETY: the descriptor is new and belongs to this call.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        match read_label(&file) {
            Some(label) if label.id == handle.id && label.purpose == purpose as u64 => {
                SharedFile::map(file, label)
            }
            _ => Err(Code::INVALID_HANDLE),
        }
    }

    fn map(file: OwnedFd, label: Label) -> Result<SharedFile> {
        let size = usize::try_from(label.size).map_err(|_| Code::INVALID_VALUE)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let data = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if data == libc::MAP_FAILED {
            return Err(Code::OUT_OF_MEMORY);
        }
        let data = NonNull::new(data.cast()).ok_or(Code::OUT_OF_MEMORY)?;
        Ok(SharedFile { file, data, label })
    }

    /// The beginning of the content.
    pub fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// The size of the content.
    pub fn size(&self) -> usize {
        self.label.size as usize
    }

    /// The UUID of the device.
    pub fn device(&self) -> [u8; 16] {
        self.label.device
    }

    /// What identifies the memory in all processes.
    pub fn id(&self) -> [u8; 16] {
        self.label.id
    }

    /// A new descriptor of the memory.
    pub fn export(&self) -> Result<RawFd> {
        // SAFETY: the descriptor is open.
        let fd = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Code::OPERATING_SYSTEM);
        }
        Ok(fd)
    }

    /// The handle for other processes, which is valid while this value exists.
    pub fn handle(&self) -> [u8; HANDLE_SIZE] {
        let mut bytes = [0; HANDLE_SIZE];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        bytes[12..16].copy_from_slice(&self.file.as_raw_fd().to_le_bytes());
        bytes[16..32].copy_from_slice(&self.label.id);
        bytes
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is of this size, and belongs to this value, which ends.
        unsafe { libc::munmap(self.data.as_ptr().cast(), self.size().max(1)) };
    }
}

impl Handle {
    fn read(bytes: &[u8; HANDLE_SIZE]) -> Option<Handle> {
        // SAFETY: all bytes are valid for the fields, and nothing is assumed about the alignment.
        let handle: Handle = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        (handle.magic == MAGIC && handle.rest == [0; 32]).then_some(handle)
    }
}

/// The identity in a handle, without opening the memory.
pub fn id_in(handle: &[u8; HANDLE_SIZE]) -> Option<[u8; 16]> {
    Handle::read(handle).map(|handle| handle.id)
}

fn memfd(name: &CStr, flags: u32) -> Result<OwnedFd> {
    // SAFETY: the name ends with a zero.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(Code::OUT_OF_MEMORY);
    }
    // SAFETY: the descriptor is new and belongs to this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The label of a sealed memfd of this driver.
fn read_label(file: &OwnedFd) -> Option<Label> {
    // SAFETY: a stat of zeros is a value, which the call overwrites.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let mut bytes = [0_u8; size_of::<Label>()];
    let fd = file.as_raw_fd();
    // SAFETY: the buffers have the sizes that the calls write.
    let read = unsafe {
        libc::fcntl(fd, libc::F_GET_SEALS) & libc::F_SEAL_SHRINK != 0
            && libc::fstat(fd, &raw mut stat) == 0
            && stat.st_size >= PAGE as i64
            && libc::pread(
                fd,
                bytes.as_mut_ptr().cast::<c_void>(),
                bytes.len(),
                stat.st_size - PAGE as i64,
            ) == bytes.len() as isize
    };
    // SAFETY: all bytes are valid for the fields.
    let label: Label = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
    let whole = label.size.checked_next_multiple_of(PAGE as u64)?;
    let fits = whole.checked_add(PAGE as u64) == Some(stat.st_size as u64);
    (read && label.magic == MAGIC && fits).then_some(label)
}
