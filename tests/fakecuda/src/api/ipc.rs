//! Legacy IPC: handles of memory and of events.

use std::ffi::c_uint;

use crate::abi::{Address, IpcHandle, Object, Out};
use crate::event::{DISABLE_TIMING, Event, INTERPROCESS, Place};
use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::space::Purpose;
use crate::{devices, driver, engine};

/// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`
const LAZY_PEER_ACCESS: u32 = 1;

entry_points! {
    Context fn cuIpcGetMemHandle(handle: Out<IpcHandle>, address: Address) {
        let driver = driver::lock();
        let (start, range) = driver.space.find(address.0)?;
        if start != address.0 || !matches!(range.purpose, Purpose::Allocated(_)) {
            return Err(Code::INVALID_VALUE);
        }
        handle.set(IpcHandle(range.memory.file()?.handle()))
    }

    Context fn cuIpcOpenMemHandle_v2(address: Out<Address>, handle: IpcHandle, flags: c_uint) {
        address.set(open(&handle, flags)?)
    }

    Context fn cuIpcOpenMemHandle(address: Out<Address>, handle: IpcHandle, flags: c_uint) {
        address.set(open(&handle, flags)?)
    }

    Context fn cuIpcCloseMemHandle(address: Address) {
        let driver = driver::lock();
        let (context, _) = driver.current()?;
        engine::finish_context(driver, context)?;
        driver::lock().space.close(address.0)
    }

    Context fn cuIpcGetEventHandle(handle: Out<IpcHandle>, event: Object) {
        devices::require(devices::IPC_EVENTS)?;
        let driver = driver::lock();
        match &driver.event(event.0)?.words {
            Place::Shared(file) => handle.set(IpcHandle(file.handle())),
            Place::Here(_) => Err(Code::INVALID_HANDLE),
        }
    }

    Context fn cuIpcOpenEventHandle(event: Out<Object>, handle: IpcHandle) {
        devices::require(devices::IPC_EVENTS)?;
        let words = Place::open(&handle.0)?;
        let mut driver = driver::lock();
        let (context, _) = driver.current()?;
        let opened = Event { context, flags: INTERPROCESS | DISABLE_TIMING, words };
        let new = driver.handle() as usize;
        driver.events.insert(new, opened);
        event.set(Object(new))
    }
}

fn open(handle: &IpcHandle, flags: c_uint) -> Result<Address> {
    if flags != LAZY_PEER_ACCESS {
        return Err(Code::INVALID_VALUE);
    }
    let mut driver = driver::lock();
    let (context, _) = driver.current()?;
    if let Some(address) = driver.space.reopen(context, &handle.0) {
        return Ok(Address(address));
    }
    // Of another device, too: the devices have access to each other.
    let memory = Memory::open(&handle.0)?;
    driver
        .space
        .place(memory, Purpose::Opened(context, 1))
        .map(Address)
}
