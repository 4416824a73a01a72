//! The CUDA driver: its library, its functions and its answers.
//!
//! The library is loaded when a device is asked for, and not before. cudarc finds it and has the types. Its
//! functions are not used: where the library or a symbol is missing they panic, and their result is an
//! `enum` that a newer driver may return other values of.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null;

use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdeviceptr, CUevent, CUstream};
use once_cell::sync::OnceCell;

use crate::error::CudaError;

pub(super) use cudarc::driver::sys::{CUipcMemHandle, CUuuid};

type Result<T> = std::result::Result<T, CudaError>;

/// A handle of an allocation (`CUmemGenericAllocationHandle`).
pub(super) type Allocation = u64;

/// `CUmemAllocationProp`, with numbers where cudarc has enums: the driver writes one, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct AllocationProp {
    pub(super) kind: u32,
    pub(super) handle_types: u32,
    pub(super) location: Location,
    win32_meta_data: usize,
    flags: u64,
}

/// `CUmemLocation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Location {
    kind: u32,
    id: c_int,
}

/// `CUmemAccessDesc`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct AccessDesc {
    pub(super) location: Location,
    pub(super) flags: u32,
}

const _: () = {
    assert!(size_of::<AllocationProp>() == size_of::<sys::CUmemAllocationProp>());
    assert!(size_of::<AccessDesc>() == size_of::<sys::CUmemAccessDesc>());
};

impl Location {
    /// A device (`CU_MEM_LOCATION_TYPE_DEVICE`).
    pub(super) fn device(device: CUdevice) -> Location {
        Location {
            kind: 1,
            id: device,
        }
    }
}

impl AllocationProp {
    /// Memory of a device that can be exported as a descriptor (`CU_MEM_ALLOCATION_TYPE_PINNED`,
    /// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`).
    pub(super) fn exportable(device: CUdevice) -> AllocationProp {
        AllocationProp {
            kind: 1,
            handle_types: POSIX_FILE_DESCRIPTOR,
            location: Location::device(device),
            ..AllocationProp::default()
        }
    }
}

pub(super) const POSIX_FILE_DESCRIPTOR: u32 = 1;
pub(super) const ACCESS_READ: u32 = 1;
pub(super) const ACCESS_READ_WRITE: u32 = 3;
/// `CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING`
pub(super) const EVENT_FLAGS: c_uint = 1 | 2;
/// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`
pub(super) const IPC_LAZY_PEER_ACCESS: c_uint = 1;
/// `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED`
pub(super) const ATTRIBUTE_VIRTUAL_MEMORY: c_int = 102;
/// `CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED`
pub(super) const ATTRIBUTE_EXPORT_DESCRIPTOR: c_int = 103;
/// `CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL`
pub(super) const POINTER_DEVICE: c_int = 9;

/// `CU_STREAM_NON_BLOCKING`
pub(super) const STREAM_NON_BLOCKING: c_uint = 1;

const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const INVALID_HANDLE: u32 = 400;
const NOT_READY: u32 = 600;

/// An answer of the driver other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer(u32);

impl Answer {
    pub(super) fn is_out_of_memory(self) -> bool {
        self.0 == OUT_OF_MEMORY
    }

    /// Whether the driver makes nothing of an argument.
    pub(super) fn is_invalid(self) -> bool {
        matches!(self.0, INVALID_VALUE | INVALID_HANDLE)
    }

    pub(super) fn is_not_ready(self) -> bool {
        self.0 == NOT_READY
    }

    /// The error of a call with this answer.
    pub(super) fn of(self, call: &'static str) -> CudaError {
        let name = Driver::loaded().and_then(|driver| driver.name(self.0));
        CudaError::Failed {
            call,
            code: self.0,
            name: name.unwrap_or_else(|| "unknown to this driver".into()),
        }
    }
}

macro_rules! functions {
    ($($name:ident: $symbol:literal ($($argument:ident: $of:ty),*);)*) => {
        /// The functions that are used, all of which the library has.
        pub(super) struct Driver {
            $($name: unsafe extern "C" fn($($of),*) -> u32,)*
            record_context: Option<unsafe extern "C" fn(CUcontext, CUevent) -> u32>,
        }

        impl Driver {
            fn load() -> Result<Driver> {
                // SAFETY: loading a library runs its constructors; the driver's are made for any process.
                if !unsafe { sys::is_culib_present() } {
                    return Err(CudaError::unavailable("there is no driver (libcuda.so.1)"));
                }
                // SAFETY: as above.
                let library = unsafe { sys::culib() };
                Ok(Driver {
                    // SAFETY: the symbols have these types since the driver has them (CUDA 11.2 at
                    // the latest), and the library is never unloaded.
                    $($name: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|_| CudaError::unavailable(
                            concat!("the driver is too old: it has no ", $symbol),
                        ))?,)*
                    // SAFETY: as above; since CUDA 12.5.
                    record_context: unsafe { library.get(b"cuCtxRecordEvent\0") }.ok().map(|symbol| *symbol),
                })
            }

            $(
                #[doc = concat!("`", $symbol, "`")]
                ///
                /// # Safety
                /// As NVIDIA's documentation of the function says.
                #[expect(clippy::too_many_arguments, reason = "as many as the driver wants")]
                #[allow(unfulfilled_lint_expectations)]
                pub(super) unsafe fn $name(&self, $($argument: $of),*) -> std::result::Result<(), Answer> {
                    // SAFETY: the caller's.
                    check(unsafe { (self.$name)($($argument),*) })
                }
            )*
        }
    };
}

fn check(code: u32) -> std::result::Result<(), Answer> {
    match code {
        SUCCESS => Ok(()),
        other => Err(Answer(other)),
    }
}

functions! {
    init: "cuInit" (flags: c_uint);
    error_name: "cuGetErrorName" (code: u32, into: *mut *const c_char);
    device_count: "cuDeviceGetCount" (into: *mut c_int);
    device: "cuDeviceGet" (into: *mut CUdevice, ordinal: c_int);
    device_uuid: "cuDeviceGetUuid_v2" (into: *mut CUuuid, device: CUdevice);
    device_name: "cuDeviceGetName" (into: *mut c_char, size: c_int, device: CUdevice);
    device_attribute: "cuDeviceGetAttribute" (into: *mut c_int, attribute: c_int, device: CUdevice);
    device_memory: "cuDeviceTotalMem_v2" (into: *mut usize, device: CUdevice);
    retain_primary: "cuDevicePrimaryCtxRetain" (into: *mut CUcontext, device: CUdevice);
    release_primary: "cuDevicePrimaryCtxRelease_v2" (device: CUdevice);
    push: "cuCtxPushCurrent_v2" (context: CUcontext);
    pop: "cuCtxPopCurrent_v2" (into: *mut CUcontext);
    memory_left: "cuMemGetInfo_v2" (free: *mut usize, total: *mut usize);
    granularity: "cuMemGetAllocationGranularity"
        (into: *mut usize, prop: *const AllocationProp, which: u32);
    create: "cuMemCreate"
        (into: *mut Allocation, size: usize, prop: *const AllocationProp, flags: u64);
    release: "cuMemRelease" (allocation: Allocation);
    properties: "cuMemGetAllocationPropertiesFromHandle"
        (into: *mut AllocationProp, allocation: Allocation);
    export: "cuMemExportToShareableHandle"
        (into: *mut c_void, allocation: Allocation, kind: u32, flags: u64);
    import: "cuMemImportFromShareableHandle" (into: *mut Allocation, handle: *mut c_void, kind: u32);
    reserve: "cuMemAddressReserve"
        (into: *mut CUdeviceptr, size: usize, alignment: usize, address: CUdeviceptr, flags: u64);
    free_range: "cuMemAddressFree" (address: CUdeviceptr, size: usize);
    map: "cuMemMap"
        (address: CUdeviceptr, size: usize, offset: usize, allocation: Allocation, flags: u64);
    unmap: "cuMemUnmap" (address: CUdeviceptr, size: usize);
    set_access: "cuMemSetAccess"
        (address: CUdeviceptr, size: usize, access: *const AccessDesc, count: usize);
    allocate: "cuMemAlloc_v2" (into: *mut CUdeviceptr, size: usize);
    free: "cuMemFree_v2" (address: CUdeviceptr);
    ipc_handle: "cuIpcGetMemHandle" (into: *mut CUipcMemHandle, address: CUdeviceptr);
    ipc_open: "cuIpcOpenMemHandle_v2" (into: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint);
    ipc_close: "cuIpcCloseMemHandle" (address: CUdeviceptr);
    address_range: "cuMemGetAddressRange_v2"
        (base: *mut CUdeviceptr, size: *mut usize, address: CUdeviceptr);
    pointer_attribute: "cuPointerGetAttribute"
        (into: *mut c_void, attribute: c_int, address: CUdeviceptr);
    fill: "cuMemsetD8Async" (address: CUdeviceptr, value: u8, count: usize, stream: CUstream);
    create_stream: "cuStreamCreate" (into: *mut CUstream, flags: c_uint);
    wait_for_context: "cuCtxSynchronize" ();
    wait_for_stream: "cuStreamSynchronize" (stream: CUstream);
    destroy_stream: "cuStreamDestroy_v2" (stream: CUstream);
    copy_to_host: "cuMemcpyDtoH_v2" (into: *mut c_void, from: CUdeviceptr, count: usize);
    create_event: "cuEventCreate" (into: *mut CUevent, flags: c_uint);
    destroy_event: "cuEventDestroy_v2" (event: CUevent);
    record: "cuEventRecord" (event: CUevent, stream: CUstream);
    query: "cuEventQuery" (event: CUevent);
    wait: "cuEventSynchronize" (event: CUevent);
}

static DRIVER: OnceCell<Driver> = OnceCell::new();

impl Driver {
    /// The driver, initialized. After an error the next call tries again.
    pub(super) fn get() -> Result<&'static Driver> {
        DRIVER.get_or_try_init(|| {
            let driver = Driver::load()?;
            // SAFETY: it takes no pointer.
            let answer = unsafe { driver.init(0) };
            answer.map_err(|answer| {
                let name = driver.name(answer.0).unwrap_or_default();
                CudaError::unavailable(format!("cuInit: {name} ({})", answer.0))
            })?;
            Ok(driver)
        })
    }

    fn loaded() -> Option<&'static Driver> {
        DRIVER.get()
    }

    /// Records all work of a context; `None` where the driver can't.
    ///
    /// # Safety
    /// Both handles are valid, and the event is of that context.
    pub(super) unsafe fn record_context(
        &self,
        context: CUcontext,
        event: CUevent,
    ) -> Option<std::result::Result<(), Answer>> {
        let record = self.record_context?;
        // SAFETY: the caller's.
        Some(check(unsafe { record(context, event) }))
    }

    /// The name of an answer.
    fn name(&self, code: u32) -> Option<String> {
        let mut name = null();
        // SAFETY: the driver writes a pointer to a static text, or null.
        unsafe { self.error_name(code, &mut name) }.ok()?;
        if name.is_null() {
            return None;
        }
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(name) };
        Some(name.to_string_lossy().into_owned())
    }
}
