//! What stands for CUDA in a build without it: there is no device, so nothing else can be called.
#![allow(unsafe_code)]

use std::any::Any;
use std::convert::Infallible;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::{CudaError, Result};
use crate::uuid::Uuid;

type Answer<T> = std::result::Result<T, CudaError>;

const WITHOUT: &str = "this build of xmem has no support for it (feature `cuda`)";

/// The handle of an allocation that is passed in a message.
pub(crate) type IpcHandle = [u8; 64];

/// A CUDA device. There is none in a build without the feature `cuda`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device(Infallible);

impl Device {
    /// # Errors
    /// [`CudaError::Unavailable`], always.
    pub fn get(_ordinal: u32) -> Answer<Device> {
        Err(CudaError::unavailable(WITHOUT))
    }

    /// # Errors
    /// [`CudaError::Unavailable`], always.
    pub fn by_uuid(_uuid: Uuid) -> Answer<Device> {
        Err(CudaError::unavailable(WITHOUT))
    }

    /// # Errors
    /// [`CudaError::Unavailable`], always.
    pub fn all() -> Answer<Vec<Device>> {
        Err(CudaError::unavailable(WITHOUT))
    }

    /// The device's number in this process.
    pub fn ordinal(&self) -> u32 {
        match self.0 {}
    }

    /// What the device is called in every process.
    pub fn uuid(&self) -> Uuid {
        match self.0 {}
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Bytes of memory that the device has.
    pub fn memory(&self) -> u64 {
        match self.0 {}
    }
}

/// Work that a caller has put on a device.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a>(Infallible, PhantomData<&'a Device>);

impl<'a> Work<'a> {
    /// The work on the default stream.
    pub fn default_stream(device: &'a Device) -> Work<'a> {
        match device.0 {}
    }

    /// The work on a stream of the primary context.
    ///
    /// # Safety
    /// There is no device to call it with.
    pub unsafe fn on_stream(device: &'a Device, _stream: *mut c_void) -> Work<'a> {
        match device.0 {}
    }

    /// The work on a stream of another context.
    ///
    /// # Safety
    /// There is no device to call it with.
    pub unsafe fn in_context(
        device: &'a Device,
        _context: *mut c_void,
        _stream: *mut c_void,
    ) -> Work<'a> {
        match device.0 {}
    }

    /// All work of a context.
    ///
    /// # Safety
    /// There is no device to call it with.
    pub unsafe fn all_in_context(device: &'a Device, _context: *mut c_void) -> Work<'a> {
        match device.0 {}
    }

    /// Says what keeps the context alive.
    #[must_use]
    pub fn owned_by(self, _owner: &'a Arc<dyn Any + Send + Sync>) -> Work<'a> {
        self
    }

    /// The device that the work is on.
    pub fn device(&self) -> &'a Device {
        match self.0 {}
    }

    pub(crate) fn wait(&self) -> Answer<()> {
        match self.0 {}
    }

    pub(crate) fn record(&self, _spare: &mut Vec<Event>) -> Answer<Event> {
        match self.0 {}
    }
}

pub(crate) struct Event(Infallible);

impl Event {
    pub(crate) fn is_done(&self) -> Answer<bool> {
        match self.0 {}
    }

    pub(crate) fn wait(&self) -> Answer<()> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) enum Export {
    #[expect(dead_code, reason = "no device makes one")]
    Descriptor(OwnedFd),
    #[expect(dead_code, reason = "no device makes one")]
    Handle(IpcHandle),
}

#[derive(Debug)]
pub(crate) struct DeviceMemory(Infallible);

impl DeviceMemory {
    pub(crate) fn create(device: &Device, _len: usize) -> Result<(DeviceMemory, Export)> {
        match device.0 {}
    }

    pub(crate) fn import(
        device: &Device,
        _fd: BorrowedFd<'_>,
        _size: usize,
    ) -> Result<DeviceMemory> {
        match device.0 {}
    }

    pub(crate) fn open(device: &Device, _handle: &IpcHandle, _size: usize) -> Result<DeviceMemory> {
        match device.0 {}
    }

    pub(crate) fn address(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn size(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn device(&self) -> &Device {
        match self.0 {}
    }

    pub(crate) fn is_read_only(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn read(&self, _offset: usize, _into: &mut [u8]) -> Result<()> {
        match self.0 {}
    }
}
