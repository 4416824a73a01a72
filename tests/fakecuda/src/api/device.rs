//! The driver itself, errors, and devices.

use std::ffi::{c_char, c_int, c_uint};

use crate::abi::{Out, Text, Uuid};
use crate::result::{Code, Result};
use crate::{alive, control, devices, driver, settings};

entry_points! {
    Nothing fn cuInit(flags: c_uint) { init(flags) }

    Nothing fn cuDriverGetVersion(version: Out<c_int>) {
        version.set(settings::get().ok_or(Code::UNKNOWN)?.version)
    }

    Nothing fn cuGetErrorName(error: c_uint, name: Out<*const c_char>) {
        let texts = Code::texts(error);
        name.set(texts.map_or(std::ptr::null(), |(name, _)| name.as_ptr()))?;
        texts.map(|_| ()).ok_or(Code::INVALID_VALUE)
    }

    Nothing fn cuGetErrorString(error: c_uint, text: Out<*const c_char>) {
        let texts = Code::texts(error);
        text.set(texts.map_or(std::ptr::null(), |(_, text)| text.as_ptr()))?;
        texts.map(|_| ()).ok_or(Code::INVALID_VALUE)
    }

    Start fn cuDeviceGetCount(count: Out<c_int>) { count.set(devices::all().len() as c_int) }

    Start fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) {
        devices::get(ordinal)?;
        device.set(ordinal)
    }

    Start fn cuDeviceGetName(name: Text, size: c_int, device: c_int) {
        name.set(&devices::get(device)?.name(), size)
    }

    Start fn cuDeviceGetUuid(uuid: Out<Uuid>, device: c_int) {
        uuid.set(Uuid(devices::get(device)?.uuid()))
    }

    Start fn cuDeviceGetUuid_v2(uuid: Out<Uuid>, device: c_int) {
        uuid.set(Uuid(devices::get(device)?.uuid()))
    }

    Start fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_uint, device: c_int) {
        devices::get(device)?;
        value.set(devices::attribute(attribute))
    }

    Start fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) {
        bytes.set(devices::get(device)?.memory())
    }

    Start fn cuDeviceGetPCIBusId(id: Text, size: c_int, device: c_int) {
        devices::get(device)?;
        id.set(&format!("0000:{device:02x}:00.0"), size)
    }

    Start fn cuDeviceCanAccessPeer(can: Out<c_int>, device: c_int, peer: c_int) {
        devices::get(device)?;
        devices::get(peer)?;
        can.set(c_int::from(device != peer))
    }
}

fn init(flags: c_uint) -> Result {
    let settings = settings::get().ok_or(Code::UNKNOWN)?;
    if flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    if driver::is_forked() {
        return Err(Code::NOT_INITIALIZED);
    }
    if devices::all().is_empty() {
        return Err(Code::NO_DEVICE);
    }
    if driver::start(settings) {
        alive::tell_at_exit();
        if let Some(directory) = &settings.control {
            control::listen(directory)?;
        }
    }
    Ok(())
}
