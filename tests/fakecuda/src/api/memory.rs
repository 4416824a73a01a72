//! Memory of the device and pinned memory of the host.

use std::ffi::{c_int, c_uint};

use crate::abi::{Address, Object, Out, Raw};
use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::space::Purpose;
use crate::{devices, driver, engine, shared};

/// What addresses and pitches of device memory are multiples of.
const ALIGNMENT: usize = 512;

entry_points! {
    Context fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let device = devices::get(driver::lock().current()?.1.device)?;
        free.set(device.free())?;
        total.set(device.memory())
    }

    Context fn cuMemAlloc_v2(address: Out<Address>, size: usize) {
        address.set(allocate(size)?)
    }

    Context fn cuMemAllocPitch_v2(
        address: Out<Address>,
        pitch: Out<usize>,
        width: usize,
        height: usize,
        element: c_uint,
    ) {
        if ![4, 8, 16].contains(&element) {
            return Err(Code::INVALID_VALUE);
        }
        let row = width.checked_next_multiple_of(ALIGNMENT).ok_or(Code::OUT_OF_MEMORY)?;
        let size = row.checked_mul(height).ok_or(Code::OUT_OF_MEMORY)?;
        pitch.set(row)?;
        address.set(allocate(size)?)
    }

    Context fn cuMemFree_v2(address: Address) {
        if address.0 == 0 {
            return Ok(());
        }
        let driver = driver::lock();
        let (_, range) = driver.space.find(address.0)?;
        let Purpose::Allocated(context) = range.purpose else {
            return Err(Code::INVALID_VALUE);
        };
        // Other threads go on while this one waits.
        engine::finish_context(driver, context)?;
        let is_it = |purpose: &Purpose| matches!(purpose, Purpose::Allocated(_));
        let range = driver::lock().space.remove(address.0, is_it)?;
        drop(range);
        Ok(())
    }

    Context fn cuMemAllocHost_v2(pointer: Out<Address>, size: usize) {
        pointer.set(pinned(size)?)
    }

    Context fn cuMemHostAlloc(pointer: Out<Address>, size: usize, _flags: c_uint) {
        pointer.set(pinned(size)?)
    }

    Context fn cuMemFreeHost(pointer: Address) {
        let is_it = |purpose: &Purpose| matches!(purpose, Purpose::Pinned);
        remove_of_host(pointer, is_it)
    }

    Context fn cuMemHostRegister_v2(pointer: Address, size: usize, _flags: c_uint) {
        if size == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let memory = Memory::registered(pointer.0, size)?;
        driver::lock().space.add_host(memory, Purpose::Registered).map(|_| ())
    }

    Context fn cuMemHostUnregister(pointer: Address) {
        let is_it = |purpose: &Purpose| matches!(purpose, Purpose::Registered);
        remove_of_host(pointer, is_it).map_err(|error| match error {
            Code::INVALID_VALUE => Code::HOST_MEMORY_NOT_REGISTERED,
            error => error,
        })
    }

    Context fn cuMemHostGetDevicePointer_v2(address: Out<Address>, pointer: Address, _flags: c_uint) {
        if !driver::lock().space.is_pinned(pointer.0) {
            return Err(Code::INVALID_VALUE);
        }
        address.set(pointer)
    }

    Context fn cuMemGetAddressRange_v2(base: Out<Address>, size: Out<usize>, address: Address) {
        let driver = driver::lock();
        let (start, range) = driver.space.find(address.0).map_err(|_| Code::NOT_FOUND)?;
        base.set_if_wanted(Address(start));
        size.set_if_wanted(range.memory.size());
        Ok(())
    }

    Health fn cuPointerGetAttribute(data: Raw, attribute: c_uint, address: Address) {
        let driver = driver::lock();
        let (start, range) = driver.space.find(address.0)?;
        let device = range.memory.device();
        match attribute {
            // CONTEXT; memory of cuMemCreate has none.
            1 => data.set(Object(match range.purpose {
                Purpose::Allocated(context) | Purpose::Opened(context, _) => context,
                _ => 0,
            })),
            // MEMORY_TYPE
            2 => data.set::<c_uint>(if device.is_some() { 2 } else { 1 }),
            // DEVICE_POINTER
            3 => data.set(address),
            // HOST_POINTER
            4 if device.is_none() => data.set(address),
            // IS_MANAGED
            8 => data.set(false),
            // DEVICE_ORDINAL
            9 => data.set::<c_int>(device.unwrap_or(0)),
            // IS_LEGACY_CUDA_IPC_CAPABLE
            10 => data.set(matches!(range.purpose, Purpose::Allocated(_))),
            // RANGE_START_ADDR
            11 => data.set(Address(start)),
            // RANGE_SIZE
            12 => data.set(range.memory.size()),
            // MAPPED
            13 => data.set(true),
            _ => Err(Code::INVALID_VALUE),
        }
    }
}

fn allocate(size: usize) -> Result<Address> {
    if size == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let size = size
        .checked_next_multiple_of(ALIGNMENT)
        .ok_or(Code::OUT_OF_MEMORY)?;
    let mut driver = driver::lock();
    let (context, of) = driver.current()?;
    let memory = Memory::create(of.device, shared::Purpose::Allocation, size)?;
    driver
        .space
        .place(memory, Purpose::Allocated(context))
        .map(Address)
}

fn pinned(size: usize) -> Result<Address> {
    if size == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let memory = Memory::pinned(size)?;
    driver::lock()
        .space
        .add_host(memory, Purpose::Pinned)
        .map(Address)
}

/// Removes memory of the host, after all work of the current context.
fn remove_of_host(pointer: Address, is_it: impl Fn(&Purpose) -> bool) -> Result {
    let driver = driver::lock();
    let (context, _) = driver.current()?;
    engine::finish_context(driver, context)?;
    let range = driver::lock().space.remove(pointer.0, is_it)?;
    drop(range);
    Ok(())
}
