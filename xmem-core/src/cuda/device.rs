//! Devices, and which context is current.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys::{CUcontext, CUdevice};

use super::driver::{self, Answer, CUuuid, Driver};
use crate::error::CudaError;
use crate::sys::fork::Origin;
use crate::uuid::Uuid;

type Result<T> = std::result::Result<T, CudaError>;

/// A CUDA device of this machine, with its primary context.
///
/// Clones are the same device. xmem works in the device's primary context, as the CUDA runtime, PyTorch and
/// most libraries do, and leaves the context of the calling thread as it was.
///
/// # Examples
///
/// ```
/// use xmem_core::cuda::Device;
///
/// match Device::get(0) {
///     Ok(device) => println!("{} is {}", device.uuid(), device.name()),
///     Err(error) => println!("no GPU: {error}"),
/// }
/// ```
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    driver: &'static Driver,
    ordinal: u32,
    device: CUdevice,
    uuid: Uuid,
    name: String,
    /// Retained here.
    primary: CUcontext,
    memory: u64,
    can_export: bool,
    /// A forked child can't call the driver.
    origin: Origin,
}

// SAFETY: contexts may be used on any thread.
unsafe impl Send for Inner {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Inner {}

impl Device {
    /// The device with this number among those that this process sees. The driver is loaded by the first
    /// call.
    ///
    /// # Errors
    /// [`CudaError::Unavailable`] says what is missing: support in this build, the driver, a symbol of it,
    /// or the device.
    pub fn get(ordinal: u32) -> Result<Device> {
        let driver = Driver::get()?;
        let count = count(driver)?;
        if ordinal >= count {
            return Err(CudaError::unavailable(format!(
                "there is no device {ordinal}: this process sees {count} (CUDA_VISIBLE_DEVICES)"
            )));
        }
        Device::open(driver, ordinal)
    }

    /// The device with this UUID.
    ///
    /// # Errors
    /// [`CudaError::NotVisible`] where this process does not see it; otherwise as [`get`](Device::get).
    pub fn by_uuid(uuid: Uuid) -> Result<Device> {
        let driver = Driver::get()?;
        let mut visible = Vec::new();
        for ordinal in 0..count(driver)? {
            let found = uuid_of(driver, handle(driver, ordinal)?)?;
            if found == uuid {
                return Device::open(driver, ordinal);
            }
            visible.push(found);
        }
        Err(CudaError::NotVisible {
            device: uuid,
            visible,
        })
    }

    /// All devices that this process sees, in the order of their numbers.
    ///
    /// # Errors
    /// As [`get`](Device::get).
    pub fn all() -> Result<Vec<Device>> {
        let driver = Driver::get()?;
        let ordinals = 0..count(driver)?;
        ordinals
            .map(|ordinal| Device::open(driver, ordinal))
            .collect()
    }

    fn open(driver: &'static Driver, ordinal: u32) -> Result<Device> {
        let device = handle(driver, ordinal)?;
        let uuid = uuid_of(driver, device)?;
        let mut name = [0; 256];
        // SAFETY: the driver writes at most as many bytes as it is told, and a null.
        unsafe { driver.device_name(name.as_mut_ptr(), name.len() as c_int - 1, device) }
            .map_err(failed("cuDeviceGetName"))?;
        // SAFETY: as above, and the last byte is null in any case.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        let name = name.to_string_lossy().into_owned();
        let mut memory = 0;
        // SAFETY: it writes a number.
        unsafe { driver.device_memory(&mut memory, device) }.map_err(failed("cuDeviceTotalMem"))?;
        let has = |attribute| {
            let mut value = 0;
            // SAFETY: it writes a number. A driver that does not know the attribute refuses.
            let answer = unsafe { driver.device_attribute(&mut value, attribute, device) };
            answer.is_ok() && value != 0
        };
        let can_export =
            has(driver::ATTRIBUTE_VIRTUAL_MEMORY) && has(driver::ATTRIBUTE_EXPORT_DESCRIPTOR);
        let mut primary = null_mut();
        // SAFETY: it writes a handle, which the drop below gives back.
        unsafe { driver.retain_primary(&mut primary, device) }
            .map_err(failed("cuDevicePrimaryCtxRetain"))?;
        Ok(Device(Arc::new(Inner {
            driver,
            ordinal,
            device,
            uuid,
            name,
            primary,
            memory: memory as u64,
            can_export,
            origin: Origin::here(),
        })))
    }

    /// The device's number in this process. Other processes may number the devices otherwise.
    pub fn ordinal(&self) -> u32 {
        self.0.ordinal
    }

    /// What the device is called in every process.
    pub fn uuid(&self) -> Uuid {
        self.0.uuid
    }

    /// The device's name, `NVIDIA H100 80GB HBM3` for example.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Bytes of memory that the device has.
    pub fn memory(&self) -> u64 {
        self.0.memory
    }

    /// Whether its memory can be passed as a descriptor. Otherwise it is passed by a handle (`cuIpc`),
    /// which only processes of the same PID namespace can open, and the memory ends with its producer.
    pub(super) fn can_export(&self) -> bool {
        self.0.can_export
    }

    /// The number that the driver has given it.
    pub(super) fn handle(&self) -> CUdevice {
        self.0.device
    }

    pub(super) fn driver(&self) -> &'static Driver {
        self.0.driver
    }

    pub(super) fn primary(&self) -> CUcontext {
        self.0.primary
    }

    /// Whether this is the process that has opened it, and not one that it forked.
    pub(super) fn is_here(&self) -> bool {
        self.0.origin.is_here()
    }

    /// Makes the device's primary context current for as long as the value lives.
    pub(super) fn enter(&self) -> Result<Current<'_>> {
        // SAFETY: the device has retained its primary context.
        unsafe { self.enter_context(self.primary()) }
    }

    /// The same for another context.
    ///
    /// # Safety
    /// It is a context of the device's that is not destroyed meanwhile.
    pub(super) unsafe fn enter_context(&self, context: CUcontext) -> Result<Current<'_>> {
        if !self.is_here() {
            return Err(CudaError::unavailable(
                "this process was forked from the one that uses the device",
            ));
        }
        // SAFETY: the caller's.
        unsafe { self.driver().push(context) }.map_err(failed("cuCtxPushCurrent"))?;
        Ok(Current(self))
    }
}

/// A context is current on this thread until this is dropped.
pub(super) struct Current<'a>(&'a Device);

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut popped = null_mut();
        // SAFETY: it was pushed on this thread, which the reference keeps the value on: a caller that
        // pushes others pops them in reverse.
        let _ = unsafe { self.0.driver().pop(&mut popped) };
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.origin.is_here() {
            // SAFETY: it was retained once, and nothing that needs it is left: all have a clone.
            let _ = unsafe { self.driver.release_primary(self.device) };
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.uuid() == other.uuid()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.uuid(), self.name())
    }
}

fn failed(call: &'static str) -> impl FnOnce(Answer) -> CudaError {
    move |answer| answer.of(call)
}

fn count(driver: &Driver) -> Result<u32> {
    let mut count = 0;
    // SAFETY: it writes a number.
    unsafe { driver.device_count(&mut count) }.map_err(failed("cuDeviceGetCount"))?;
    Ok(u32::try_from(count).unwrap_or(0))
}

fn handle(driver: &Driver, ordinal: u32) -> Result<CUdevice> {
    let mut device = 0;
    // SAFETY: it writes a number.
    unsafe { driver.device(&mut device, ordinal as c_int) }.map_err(failed("cuDeviceGet"))?;
    Ok(device)
}

fn uuid_of(driver: &Driver, device: CUdevice) -> Result<Uuid> {
    let mut uuid = CUuuid { bytes: [0; 16] };
    // SAFETY: it writes 16 bytes.
    unsafe { driver.device_uuid(&mut uuid, device) }.map_err(failed("cuDeviceGetUuid"))?;
    Ok(Uuid(uuid.bytes.map(|byte| byte as u8)))
}
