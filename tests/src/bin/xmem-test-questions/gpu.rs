//! Device 0 with its primary context, and what questions do with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use xmem_tests::driver::Library;

use crate::answer::{Answer, Problem, failed};

/// A MiB.
pub const MIB: u64 = 1 << 20;
/// `CU_MEM_ACCESS_FLAGS_PROT_READ`
pub const READ: u64 = 1;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`
pub const READ_WRITE: u64 = 3;
/// `CU_EVENT_BLOCKING_SYNC`
pub const BLOCKING: u64 = 1;
/// `CU_EVENT_DISABLE_TIMING`
pub const NO_TIMING: u64 = 2;
/// `CU_EVENT_INTERPROCESS`
pub const INTERPROCESS: u64 = 4;
/// `CU_STREAM_NON_BLOCKING`
pub const NON_BLOCKING: u64 = 1;
/// `CUDA_ERROR_NOT_READY`
pub const NOT_READY: u32 = 600;
/// `CUDA_ERROR_NOT_SUPPORTED`
pub const NOT_SUPPORTED: u32 = 801;

/// Kernels, all of which end by themselves.
const KERNELS: &str = include_str!("kernels.ptx");

/// A value as an argument of the driver.
pub fn pointer<T>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).expose_provenance() as u64
}

/// The driver.
pub fn driver() -> Answer<&'static Library> {
    static DRIVER: OnceLock<Result<Library, String>> = OnceLock::new();
    let driver = DRIVER.get_or_init(Library::load);
    driver
        .as_ref()
        .map_err(|why| Problem::NotHere(format!("no driver: {why}")))
}

/// Calls a function of the driver. Returns its code.
pub fn call(function: &str, arguments: &[u64]) -> Answer<u32> {
    let code = driver()?.call(function, arguments);
    code.map_err(|why| Problem::NotHere(format!("the driver has {why}")))
}

/// A code of the driver, for a person.
pub fn name(code: u32) -> String {
    if code == 0 {
        return "ok".into();
    }
    let mut text = 0u64;
    let known = call("cuGetErrorName", &[code.into(), pointer(&mut text)]);
    if !matches!(known, Ok(0)) || text == 0 {
        return format!("error {code}");
    }
    // SAFETY: the driver returned a static text that ends with a zero.
    let text =
        unsafe { std::ffi::CStr::from_ptr(std::ptr::with_exposed_provenance(text as usize)) };
    let text = text.to_string_lossy().replace("CUDA_ERROR_", "");
    format!("{text} ({code})")
}

/// Calls a function that has to succeed.
pub fn ok(function: &str, arguments: &[u64]) -> Answer<()> {
    match call(function, arguments)? {
        0 => Ok(()),
        NOT_SUPPORTED => Err(Problem::NotHere(format!("{function}: NOT_SUPPORTED"))),
        code => failed(format!("{function}: {}", name(code))),
    }
}

/// Calls a function whose first argument points to its result, of at most eight bytes.
pub fn out(function: &str, arguments: &[u64]) -> Answer<u64> {
    let mut result = 0u64;
    let mut all = vec![pointer(&mut result)];
    all.extend_from_slice(arguments);
    ok(function, &all)?;
    Ok(result)
}

/// Device 0. Its primary context is current on the thread that made the value.
pub struct Gpu {
    pub device: u64,
    pub context: u64,
    pub granularity: u64,
    functions: RefCell<HashMap<(u64, &'static str), u64>>,
}

/// An allocation that was exported.
pub struct Segment {
    pub address: u64,
    pub handle: u64,
    pub fd: OwnedFd,
}

impl Gpu {
    pub fn new() -> Answer<Gpu> {
        ok("cuInit", &[0])?;
        let device = out("cuDeviceGet", &[0])?;
        let context = out("cuDevicePrimaryCtxRetain", &[device])?;
        ok("cuCtxSetCurrent", &[context])?;
        let mut gpu = Gpu {
            device,
            context,
            granularity: 2 * MIB,
            functions: RefCell::default(),
        };
        // The questions that need it say why it is missing.
        if let Ok(granularity) = gpu.granularity(0) {
            gpu.granularity = granularity;
        }
        Ok(gpu)
    }

    /// The sizes that the device allocates at once: 0 the least, 1 the recommended.
    pub fn granularity(&self, which: u64) -> Answer<u64> {
        let mut property = self.property();
        out(
            "cuMemGetAllocationGranularity",
            &[pointer(&mut property), which],
        )
    }

    /// `CUmemAllocationProp`: pinned memory of the device that can be exported as a descriptor.
    fn property(&self) -> [u64; 4] {
        [1 | 1 << 32, 1 | self.device << 32, 0, 0]
    }

    pub fn round(&self, size: u64) -> u64 {
        size.next_multiple_of(self.granularity)
    }

    // --- Virtual memory ---

    pub fn create(&self, size: u64) -> Answer<u64> {
        let mut property = self.property();
        out("cuMemCreate", &[size, pointer(&mut property), 0])
    }

    pub fn export(&self, handle: u64) -> Answer<OwnedFd> {
        let fd = out("cuMemExportToShareableHandle", &[handle, 1, 0])?;
        // SAFETY: the driver made it for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }

    pub fn import(&self, fd: &OwnedFd) -> Answer<u64> {
        self.import_number(fd.as_raw_fd())
    }

    pub fn import_number(&self, fd: i32) -> Answer<u64> {
        out("cuMemImportFromShareableHandle", &[fd as u64, 1])
    }

    pub fn allow(&self, address: u64, size: u64, access: u64) -> Answer<u32> {
        // `CUmemAccessDesc`
        let mut access = [1, self.device as u32, access as u32];
        call("cuMemSetAccess", &[address, size, pointer(&mut access), 1])
    }

    pub fn reserve(&self, size: u64) -> Answer<u64> {
        out("cuMemAddressReserve", &[size, 0, 0, 0])
    }

    pub fn map(&self, handle: u64, size: u64, access: u64) -> Answer<u64> {
        let address = self.reserve(size)?;
        ok("cuMemMap", &[address, size, 0, handle, 0])?;
        match self.allow(address, size, access)? {
            0 => Ok(address),
            code => failed(format!("cuMemSetAccess: {}", name(code))),
        }
    }

    pub fn unmap(&self, address: u64, size: u64) -> Answer<()> {
        ok("cuMemUnmap", &[address, size])?;
        ok("cuMemAddressFree", &[address, size])
    }

    pub fn segment(&self, size: u64) -> Answer<Segment> {
        let handle = self.create(size)?;
        Ok(Segment {
            address: self.map(handle, size, READ_WRITE)?,
            fd: self.export(handle)?,
            handle,
        })
    }

    // --- Legacy IPC ---

    pub fn allocate(&self, size: u64) -> Answer<u64> {
        out("cuMemAlloc_v2", &[size])
    }

    pub fn handle(&self, address: u64) -> Answer<Vec<u8>> {
        let mut handle = [0u8; 64];
        ok("cuIpcGetMemHandle", &[pointer(&mut handle), address])?;
        Ok(handle.to_vec())
    }

    pub fn open(&self, function: &str, handle: &[u8]) -> Answer<u64> {
        let handle = handle.try_into();
        let handle = handle.map_err(|_| Problem::NotHere("no handle".into()))?;
        let opened = driver()?.open(function, handle);
        match opened.map_err(|why| Problem::NotHere(format!("the driver has {why}")))? {
            (0, value) => Ok(value),
            (NOT_SUPPORTED, _) => Err(Problem::NotHere(format!("{function}: NOT_SUPPORTED"))),
            (code, _) => failed(format!("{function}: {}", name(code))),
        }
    }

    pub fn open_memory(&self, handle: &[u8]) -> Answer<u64> {
        self.open("cuIpcOpenMemHandle_v2", handle)
    }

    // --- Streams and events ---

    pub fn stream(&self, flags: u64) -> Answer<u64> {
        out("cuStreamCreate", &[flags])
    }

    pub fn event(&self, flags: u64) -> Answer<u64> {
        out("cuEventCreate", &[flags])
    }

    pub fn ipc_event(&self) -> Answer<(u64, Vec<u8>)> {
        let event = self.event(NO_TIMING | INTERPROCESS)?;
        let mut handle = [0u8; 64];
        ok("cuIpcGetEventHandle", &[pointer(&mut handle), event])?;
        Ok((event, handle.to_vec()))
    }

    /// The code of a synchronization of the context.
    pub fn synchronize(&self) -> Answer<u32> {
        call("cuCtxSynchronize", &[])
    }

    // --- Contents ---

    pub fn set(&self, address: u64, size: u64, value: u8) -> Answer<()> {
        ok("cuMemsetD8_v2", &[address, value.into(), size])?;
        ok("cuCtxSynchronize", &[])
    }

    pub fn get(&self, address: u64, size: u64) -> Answer<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        match driver()?
            .download(&mut bytes, address)
            .map_err(Problem::NotHere)?
        {
            0 => Ok(bytes),
            code => failed(format!("cuMemcpyDtoH: {}", name(code))),
        }
    }

    pub fn words(&self, address: u64, count: usize) -> Answer<Vec<u64>> {
        let bytes = self.get(address, 8 * count as u64)?;
        let words = bytes.chunks_exact(8).map(|word| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            u64::from_ne_bytes(bytes)
        });
        Ok(words.collect())
    }

    /// Whether memory has one value, as the copy engine reads it.
    pub fn is_all(&self, address: u64, size: u64, value: u8) -> Answer {
        let bytes = self.get(address, size.min(64 * MIB))?;
        Ok(match bytes.iter().filter(|byte| **byte != value).count() {
            0 => "right".into(),
            wrong => format!("WRONG ({wrong} of {} bytes)", bytes.len()),
        })
    }

    // --- Kernels ---

    fn function(&self, kernel: &'static str) -> Answer<u64> {
        let context = out("cuCtxGetCurrent", &[])?;
        if let Some(function) = self.functions.borrow().get(&(context, kernel)) {
            return Ok(*function);
        }
        let text = |text: &str| CString::new(text).map_err(|_| Problem::Failed("a zero".into()));
        let (kernels, named) = (text(KERNELS)?, text(kernel)?);
        let at = |text: &CString| text.as_ptr().expose_provenance() as u64;
        let module = out("cuModuleLoadData", &[at(&kernels)])?;
        let function = out("cuModuleGetFunction", &[module, at(&named)])?;
        self.functions
            .borrow_mut()
            .insert((context, kernel), function);
        Ok(function)
    }

    /// Launches a kernel: blocks, threads of each, arguments.
    pub fn launch_many(
        &self,
        kernel: &'static str,
        stream: u64,
        (blocks, threads): (u64, u64),
        arguments: &[u64],
    ) -> Answer<()> {
        let function = self.function(kernel)?;
        let mut values = arguments.to_vec();
        let mut places: Vec<u64> = values.iter_mut().map(pointer).collect();
        let places = places.as_mut_ptr().expose_provenance() as u64;
        let shape = [function, blocks, 1, 1, threads, 1, 1, 0, stream, places, 0];
        ok("cuLaunchKernel", &shape)
    }

    /// Launches one thread of a kernel.
    pub fn launch(&self, kernel: &'static str, stream: u64, arguments: &[u64]) -> Answer<()> {
        self.launch_many(kernel, stream, (1, 1), arguments)
    }

    /// Busy for a time. The begin and the end, by the GPU's clock, go to an address that is not 0.
    pub fn spin(&self, stream: u64, time: Duration, into: u64) -> Answer<()> {
        self.launch("spin", stream, &[time.as_nanos() as u64, into])
    }

    /// A kernel reads memory for 1 ms. Returns the code of a synchronization.
    pub fn reads(&self, address: u64, size: u64) -> Answer {
        let result = self.allocate(4096)?;
        self.launch("read", 0, &[address, size / 4, 1_000_000, result])?;
        Ok(format!("a kernel reads: {}", name(self.synchronize()?)))
    }
}
