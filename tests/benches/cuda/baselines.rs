//! What else a transport can do with a frame: copy it on the device, or open its memory each time.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::result::{free_sync, malloc_sync, memcpy_dtod_async};
use cudarc::driver::{CudaContext, sys};
use xmem_tests::roles::parent::{orders, tell};
use xmem_tests::roles::{Child, PATIENCE, monotonic_ns};
use xmem_tests::samples::{numbers, to_text};

use crate::Result;
use crate::driver::Driver;

const DESCRIPTOR: sys::CUmemAllocationHandleType =
    sys::CUmemAllocationHandleType_enum::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
/// Rounds before the first that counts.
const WARMUP: usize = 5;

/// A name, and times in ns, ascending; or why there are none.
pub type Baseline = (&'static str, std::result::Result<Vec<u64>, String>);

/// Measures all of them with a frame of `size` bytes, in processes of their own.
pub fn measure(driver: &Driver, size: usize, rounds: usize) -> Result<Vec<Baseline>> {
    let (size, rounds) = (size.to_string(), rounds.to_string());
    let mut owner = Child::spawn("the owner", driver.role(&["baselines", &size, &rounds])?)?;
    let within = PATIENCE + Duration::from_secs(60);
    let copies = sorted(&owner.report("copies", within)?)?;
    let mut baselines: Vec<Baseline> = vec![("device copy", Ok(copies))];
    for (name, way) in [
        ("VMM import+map+unmap", "virtual"),
        ("legacy open+close", "legacy"),
    ] {
        owner.order(way)?;
        let opened = owner.report("opened", within)?;
        baselines.push((
            name,
            match opened.strip_prefix("no: ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(sorted(&opened)?),
            },
        ));
    }
    owner.end()?;
    Ok(baselines)
}

fn sorted(text: &str) -> Result<Vec<u64>> {
    let mut times = numbers(text)?;
    times.sort_unstable();
    Ok(times)
}

/// The role that has the memory. Reports `copies`, and for each order how long another process takes to
/// open memory in that way.
pub fn main(arguments: &[&str]) -> Result<()> {
    let [size, rounds] = arguments else {
        return Err("baselines SIZE ROUNDS".into());
    };
    let context = CudaContext::new(0)?;
    tell(
        "copies",
        to_text(&copies(&context, size.parse()?, rounds.parse()?)?),
    );
    for order in orders() {
        let opened = match order.as_str() {
            "virtual" => by_descriptor(&context, size.parse()?, rounds),
            _ => by_handle(size.parse()?, rounds),
        };
        match opened {
            Ok(times) => tell("opened", times),
            Err(error) => tell("opened", format_args!("no: {error}")),
        }
    }
    Ok(())
}

/// How long a copy of a frame takes until the CPU sees its end.
fn copies(context: &Arc<CudaContext>, size: usize, rounds: usize) -> Result<Vec<u64>> {
    let stream = context.new_stream()?;
    let seen = context.new_event(None)?;
    // SAFETY: both are freed once, below.
    let (from, to) = unsafe { (malloc_sync(size)?, malloc_sync(size)?) };
    let mut times = Vec::new();
    for _ in 0..rounds + WARMUP {
        let begun = monotonic_ns();
        // SAFETY: both have so many bytes.
        unsafe { memcpy_dtod_async(to, from, size, stream.cu_stream()) }?;
        seen.record(&stream)?;
        while !seen.try_is_complete()? {
            std::hint::spin_loop();
        }
        times.push(monotonic_ns() - begun);
    }
    // SAFETY: they were allocated once, and the stream is done with them.
    unsafe {
        free_sync(from)?;
        free_sync(to)?;
    }
    Ok(times.split_off(WARMUP))
}

fn location(device: i32) -> sys::CUmemLocation {
    sys::CUmemLocation {
        type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
        id: device,
    }
}

/// Starts the process that opens memory.
fn opener(way: &str, what: &str, size: usize, rounds: &str) -> Result<String> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["opener", way, what, &size.to_string(), rounds]);
    let child = Child::spawn("the opener", command)?;
    let times = child.report("times", PATIENCE + Duration::from_secs(30))?;
    child.end()?;
    Ok(times)
}

fn by_descriptor(context: &CudaContext, size: usize, rounds: &str) -> Result<String> {
    for attribute in [
        sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED,
        sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
    ] {
        if context.attribute(attribute)? == 0 {
            return Err("the device has no descriptors of memory".into());
        }
    }
    // SAFETY: zeroes are valid for all fields.
    let mut prop: sys::CUmemAllocationProp = unsafe { std::mem::zeroed() };
    prop.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.requestedHandleTypes = DESCRIPTOR;
    prop.location = location(context.cu_device());
    let minimum = sys::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
    let (mut granularity, mut handle, mut fd) = (0, 0, -1);
    let fd: *mut i32 = &mut fd;
    // SAFETY: each call writes one number, and reads a record that lives.
    let (size, fd) = unsafe {
        sys::cuMemGetAllocationGranularity(&mut granularity, &prop, minimum).result()?;
        let size = size.next_multiple_of(granularity);
        sys::cuMemCreate(&mut handle, size, &prop, 0).result()?;
        sys::cuMemExportToShareableHandle(fd.cast(), handle, DESCRIPTOR, 0).result()?;
        (size, OwnedFd::from_raw_fd(*fd))
    };
    // The child inherits it.
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())?;
    let times = opener("virtual", &fd.as_raw_fd().to_string(), size, rounds);
    // SAFETY: it was created once.
    unsafe { sys::cuMemRelease(handle) }.result()?;
    times
}

fn by_handle(size: usize, rounds: &str) -> Result<String> {
    // SAFETY: it is freed once, below.
    let memory = unsafe { malloc_sync(size) }?;
    let mut handle = sys::CUipcMemHandle { reserved: [0; 64] };
    // SAFETY: it writes the handle.
    unsafe { sys::cuIpcGetMemHandle(&mut handle, memory) }.result()?;
    let bytes: Vec<u64> = handle
        .reserved
        .iter()
        .map(|&byte| byte as u8 as u64)
        .collect();
    let times = opener("legacy", &to_text(&bytes), size, rounds);
    // SAFETY: it was allocated once.
    unsafe { free_sync(memory) }?;
    times
}

/// The role that opens memory over and over. Reports `times`.
pub fn open(arguments: &[&str]) -> Result<()> {
    let [way, what, size, rounds] = arguments else {
        return Err("opener WAY WHAT SIZE ROUNDS".into());
    };
    let context = CudaContext::new(0)?;
    let size: usize = size.parse()?;
    let mut open: Box<dyn FnMut() -> Result<()>> = match *way {
        "virtual" => {
            let fd: i32 = what.parse()?;
            let location = location(context.cu_device());
            Box::new(move || map(fd, size, location))
        }
        _ => {
            let bytes = numbers(what)?;
            let mut handle = sys::CUipcMemHandle { reserved: [0; 64] };
            for (to, byte) in handle.reserved.iter_mut().zip(bytes) {
                *to = byte as u8 as _;
            }
            Box::new(move || {
                let mut address = 0;
                let flags = sys::CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
                // SAFETY: it writes an address, which is closed once.
                unsafe {
                    sys::cuIpcOpenMemHandle_v2(&mut address, handle, flags).result()?;
                    sys::cuIpcCloseMemHandle(address).result()?;
                }
                Ok(())
            })
        }
    };
    let mut times = Vec::new();
    for _ in 0..rounds.parse::<usize>()? + WARMUP {
        let begun = monotonic_ns();
        open()?;
        times.push(monotonic_ns() - begun);
    }
    tell("times", to_text(&times[WARMUP..]));
    Ok(())
}

/// Imports an allocation, maps it to be read, and undoes that.
fn map(fd: i32, size: usize, location: sys::CUmemLocation) -> Result<()> {
    let (mut handle, mut address) = (0, 0);
    let access = sys::CUmemAccessDesc {
        location,
        flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READ,
    };
    // SAFETY: the descriptor is open, the range is what was reserved, and all is given back once.
    unsafe {
        let number = fd as usize as *mut c_void;
        sys::cuMemImportFromShareableHandle(&mut handle, number, DESCRIPTOR).result()?;
        sys::cuMemAddressReserve(&mut address, size, 0, 0, 0).result()?;
        sys::cuMemMap(address, size, 0, handle, 0).result()?;
        if sys::cuMemSetAccess(address, size, &access, 1)
            .result()
            .is_err()
        {
            let flags = sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
            let access = sys::CUmemAccessDesc { location, flags };
            sys::cuMemSetAccess(address, size, &access, 1).result()?;
        }
        sys::cuMemUnmap(address, size).result()?;
        sys::cuMemAddressFree(address, size).result()?;
        sys::cuMemRelease(handle).result()?;
    }
    Ok(())
}
