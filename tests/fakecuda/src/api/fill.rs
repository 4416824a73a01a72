//! Fills. None waits, as with device memory.

use std::ffi::c_uint;

use crate::abi::{Address, Object};
use crate::copy::Fill;
use crate::result::{Code, Result};
use crate::{driver, engine};

/// `CU_STREAM_LEGACY`: the stream of calls that have no argument for one.
const DEFAULT: Object = Object(0);

entry_points! {
    Context fn cuMemsetD8_v2(address: Address, value: u8, count: usize) {
        fill(address, &value.to_ne_bytes(), count, DEFAULT)
    }

    Context fn cuMemsetD8Async(address: Address, value: u8, count: usize, stream: Object) {
        fill(address, &value.to_ne_bytes(), count, stream)
    }

    Context fn cuMemsetD16_v2(address: Address, value: u16, count: usize) {
        fill(address, &value.to_ne_bytes(), count, DEFAULT)
    }

    Context fn cuMemsetD16Async(address: Address, value: u16, count: usize, stream: Object) {
        fill(address, &value.to_ne_bytes(), count, stream)
    }

    Context fn cuMemsetD32_v2(address: Address, value: c_uint, count: usize) {
        fill(address, &value.to_ne_bytes(), count, DEFAULT)
    }

    Context fn cuMemsetD32Async(address: Address, value: c_uint, count: usize, stream: Object) {
        fill(address, &value.to_ne_bytes(), count, stream)
    }

    Context fn cuMemsetD2D8_v2(
        address: Address, pitch: usize, value: u8, width: usize, height: usize,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, DEFAULT)
    }

    Context fn cuMemsetD2D8Async(
        address: Address, pitch: usize, value: u8, width: usize, height: usize, stream: Object,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, stream)
    }

    Context fn cuMemsetD2D16_v2(
        address: Address, pitch: usize, value: u16, width: usize, height: usize,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, DEFAULT)
    }

    Context fn cuMemsetD2D16Async(
        address: Address, pitch: usize, value: u16, width: usize, height: usize, stream: Object,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, stream)
    }

    Context fn cuMemsetD2D32_v2(
        address: Address, pitch: usize, value: c_uint, width: usize, height: usize,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, DEFAULT)
    }

    Context fn cuMemsetD2D32Async(
        address: Address, pitch: usize, value: c_uint, width: usize, height: usize, stream: Object,
    ) {
        fill_rows(address, pitch, &value.to_ne_bytes(), width, height, stream)
    }
}

fn fill(address: Address, pattern: &[u8], count: usize, stream: Object) -> Result {
    fill_rows(address, 0, pattern, count, 1, stream)
}

/// Fills rows of so many elements.
fn fill_rows(
    address: Address,
    pitch: usize,
    pattern: &[u8],
    elements: usize,
    height: usize,
    stream: Object,
) -> Result {
    let width = elements
        .checked_mul(pattern.len())
        .ok_or(Code::INVALID_VALUE)?;
    if height > 1 && pitch < width || !address.0.is_multiple_of(pattern.len() as u64) {
        return Err(Code::INVALID_VALUE);
    }
    let fill = Fill {
        address: address.0,
        pitch,
        pattern: pattern.to_vec(),
        width,
        height,
    };
    let driver = driver::lock();
    let stream = driver.stream(stream.0)?;
    let device = driver.context(driver.streams.context(stream)?)?.device;
    engine::submit_work(
        driver,
        stream,
        "fill",
        false,
        Box::new(move || fill.run(device)),
    )
}
