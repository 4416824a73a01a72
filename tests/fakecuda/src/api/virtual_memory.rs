//! Virtual memory: allocations, their descriptors, addresses and mappings.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use crate::abi::{Access, Address, AllocationHandle, In, Location, Out, Properties, Raw};
use crate::driver::{self, Allocation};
use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::shared::Purpose;
use crate::space::{self, GRANULARITY, READ, READ_WRITE};
use crate::{devices, settings};

/// `CU_MEM_ALLOCATION_TYPE_PINNED`
const PINNED: u32 = 1;
/// `CU_MEM_LOCATION_TYPE_DEVICE`
const DEVICE: u32 = 1;
/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`
const POSIX_DESCRIPTOR: u32 = 1;

entry_points! {
    Health fn cuMemGetAllocationGranularity(
        granularity: Out<usize>,
        properties: In<Properties>,
        _option: c_uint,
    ) {
        devices::require(devices::VIRTUAL_MEMORY)?;
        check(&properties.get()?)?;
        granularity.set(GRANULARITY)
    }

    Health fn cuMemCreate(
        handle: Out<AllocationHandle>,
        size: usize,
        properties: In<Properties>,
        flags: u64,
    ) {
        devices::require(devices::VIRTUAL_MEMORY)?;
        let properties = properties.get()?;
        let is_exportable = check(&properties)?;
        if size == 0 || !size.is_multiple_of(GRANULARITY) || flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        let purpose = if is_exportable { Purpose::Exportable } else { Purpose::Private };
        let memory = Memory::create(properties.location.id, purpose, size)?;
        handle.set(add(memory, properties.location.id, is_exportable))
    }

    Health fn cuMemRelease(handle: AllocationHandle) {
        let mut driver = driver::lock();
        let allocation = driver.allocations.get_mut(&handle.0).ok_or(Code::INVALID_VALUE)?;
        allocation.references -= 1;
        if allocation.references == 0 {
            driver.allocations.remove(&handle.0);
        }
        Ok(())
    }

    Health fn cuMemRetainAllocationHandle(handle: Out<AllocationHandle>, address: Address) {
        let mut driver = driver::lock();
        let (_, range) = driver.space.find(address.0)?;
        if !matches!(range.purpose, space::Purpose::Mapped(_)) {
            return Err(Code::INVALID_VALUE);
        }
        let memory = Arc::clone(&range.memory);
        let mut allocations = driver.allocations.iter_mut();
        if let Some((known, allocation)) =
            allocations.find(|(_, allocation)| Arc::ptr_eq(&allocation.memory, &memory))
        {
            allocation.references += 1;
            return handle.set(AllocationHandle(*known));
        }
        let device = memory.device().ok_or(Code::INVALID_VALUE)?;
        // Whether it can be exported is not remembered once all handles are gone.
        let allocation = Allocation { memory, device, is_exportable: false, references: 1 };
        let new = driver.handle();
        driver.allocations.insert(new, allocation);
        handle.set(AllocationHandle(new))
    }

    Health fn cuMemGetAllocationPropertiesFromHandle(
        properties: Out<Properties>,
        handle: AllocationHandle,
    ) {
        let driver = driver::lock();
        let allocation = driver.allocations.get(&handle.0).ok_or(Code::INVALID_VALUE)?;
        properties.set(Properties {
            kind: PINNED,
            handle_types: if allocation.is_exportable { POSIX_DESCRIPTOR } else { 0 },
            location: Location { kind: DEVICE, id: allocation.device },
            win32: Raw(std::ptr::null_mut()),
            flags: [0; 8],
        })
    }

    Health fn cuMemExportToShareableHandle(
        descriptor: Out<c_int>,
        handle: AllocationHandle,
        kind: c_uint,
        flags: u64,
    ) {
        let driver = driver::lock();
        let allocation = driver.allocations.get(&handle.0).ok_or(Code::INVALID_VALUE)?;
        if kind != POSIX_DESCRIPTOR || flags != 0 || !allocation.is_exportable {
            return Err(Code::INVALID_VALUE);
        }
        descriptor.set(allocation.memory.file()?.export()?)
    }

    Health fn cuMemImportFromShareableHandle(
        handle: Out<AllocationHandle>,
        descriptor: Address,
        kind: c_uint,
    ) {
        devices::require(devices::VIRTUAL_MEMORY)?;
        devices::require(devices::POSIX_DESCRIPTORS)?;
        let descriptor = c_int::try_from(descriptor.0).map_err(|_| Code::INVALID_VALUE)?;
        if kind != POSIX_DESCRIPTOR {
            return Err(Code::INVALID_VALUE);
        }
        let memory = Memory::import(descriptor)?;
        let device = memory.device().ok_or(Code::INVALID_DEVICE)?;
        handle.set(add(memory, device, true))
    }

    Health fn cuMemAddressReserve(
        address: Out<Address>,
        size: usize,
        alignment: usize,
        _hint: Address,
        flags: u64,
    ) {
        devices::require(devices::VIRTUAL_MEMORY)?;
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        address.set(Address(driver::lock().space.reserve(size, alignment)?))
    }

    Health fn cuMemAddressFree(address: Address, size: usize) {
        driver::lock().space.free(address.0, size)
    }

    Health fn cuMemMap(
        address: Address,
        size: usize,
        offset: usize,
        handle: AllocationHandle,
        flags: u64,
    ) {
        if offset != 0 || flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut driver = driver::lock();
        let allocation = driver.allocations.get(&handle.0).ok_or(Code::INVALID_VALUE)?;
        let memory = Arc::clone(&allocation.memory);
        driver.space.map(address.0, size, &memory)
    }

    Health fn cuMemUnmap(address: Address, size: usize) {
        driver::lock().space.unmap(address.0, size)
    }

    Health fn cuMemSetAccess(address: Address, size: usize, access: In<Access>, count: usize) {
        let access = access.list(count)?;
        let has_read_only = settings::get().is_some_and(|settings| settings.has_read_only);
        let mut allowed = Vec::new();
        for one in access {
            devices::get(one.location.id)?;
            if one.location.kind != DEVICE || ![0, READ, READ_WRITE].contains(&one.flags) {
                return Err(Code::INVALID_VALUE);
            }
            if one.flags == READ && !has_read_only {
                return Err(Code::NOT_SUPPORTED);
            }
            allowed.push((one.location.id, one.flags));
        }
        driver::lock().space.allow(address.0, size, &allowed)
    }

    Health fn cuMemGetAccess(flags: Out<u64>, location: In<Location>, address: Address) {
        let location = location.get()?;
        let driver = driver::lock();
        let (_, range) = driver.space.find(address.0)?;
        let space::Purpose::Mapped(access) = &range.purpose else {
            return Err(Code::INVALID_VALUE);
        };
        flags.set(u64::from(access.get(&location.id).copied().unwrap_or(0)))
    }
}

/// Checks properties of an allocation. Returns whether it can be exported.
fn check(properties: &Properties) -> Result<bool> {
    if properties.kind != PINNED || properties.location.kind != DEVICE {
        return Err(Code::INVALID_VALUE);
    }
    devices::get(properties.location.id)?;
    match properties.handle_types {
        0 => Ok(false),
        POSIX_DESCRIPTOR => {
            devices::require(devices::POSIX_DESCRIPTORS)?;
            Ok(true)
        }
        _ => Err(Code::NOT_SUPPORTED),
    }
}

fn add(memory: Memory, device: i32, is_exportable: bool) -> AllocationHandle {
    let mut driver = driver::lock();
    let handle = driver.handle();
    let allocation = Allocation {
        memory: Arc::new(memory),
        device,
        is_exportable,
        references: 1,
    };
    driver.allocations.insert(handle, allocation);
    AllocationHandle(handle)
}
