//! What the driver's answers about memory mean.
#![allow(unsafe_code)]

use rustix::io::Errno;

use crate::cuda::device::Device;
use crate::cuda::driver::Answer;
use crate::error::{Error, Resource};

pub(super) fn of_another_device() -> Error {
    Error::Protocol("the memory is of another device than was announced".into())
}

pub(super) fn failed(call: &'static str) -> impl FnOnce(Answer) -> Error {
    move |answer| Error::Cuda(answer.of(call))
}

/// The error of a call on what another process has passed.
pub(super) fn foreign(call: &'static str) -> impl FnOnce(Answer) -> Error {
    move |answer| {
        if answer.is_invalid() {
            Error::Protocol(format!(
                "the memory is not what was announced: {}",
                answer.of(call)
            ))
        } else {
            Error::Cuda(answer.of(call))
        }
    }
}

/// The error of a call that needs memory of the device.
pub(super) fn wanting(
    device: &Device,
    len: usize,
    call: &'static str,
) -> impl FnOnce(Answer) -> Error {
    move |answer| {
        if answer.is_out_of_memory() {
            out_of_memory(device, len)
        } else {
            Error::Cuda(answer.of(call))
        }
    }
}

pub(super) fn out_of_memory(device: &Device, len: usize) -> Error {
    let (mut free, mut total) = (0, 0);
    // SAFETY: it writes two numbers; the caller has made a context current.
    let answer = unsafe { device.driver().memory_left(&mut free, &mut total) };
    let left = match answer {
        Ok(()) => format!(", of which {free} are free"),
        Err(_) => String::new(),
    };
    let what = format!(
        "making {len} bytes on {} ({} bytes{left})",
        device.name(),
        device.memory()
    );
    Error::exhausted(what, Resource::DeviceMemory, Errno::NOMEM.into())
}
