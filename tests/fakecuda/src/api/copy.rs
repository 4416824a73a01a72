//! Copies.

use crate::abi::{Address, Copy2D, In, Object, Raw, Side};
use crate::copy::{Copy, End, Rows};
use crate::result::{Code, Result};
use crate::{driver, engine};

/// `CU_STREAM_LEGACY`: the stream of calls that have no argument for one.
const DEFAULT: Object = Object(0);

entry_points! {
    Context fn cuMemcpy2D_v2(copy: In<Copy2D>) { copy_rows(copy, DEFAULT, true) }

    Context fn cuMemcpy2DUnaligned_v2(copy: In<Copy2D>) { copy_rows(copy, DEFAULT, true) }

    Context fn cuMemcpy2DAsync_v2(copy: In<Copy2D>, stream: Object) {
        copy_rows(copy, stream, false)
    }

    Context fn cuMemcpyDtoD_v2(target: Address, source: Address, size: usize) {
        submit(Copy::linear(device(target), device(source), size), DEFAULT, true)
    }

    Context fn cuMemcpyDtoDAsync_v2(target: Address, source: Address, size: usize, stream: Object) {
        submit(Copy::linear(device(target), device(source), size), stream, false)
    }

    Context fn cuMemcpyDtoH_v2(target: Raw, source: Address, size: usize) {
        submit(Copy::linear(host(target), device(source), size), DEFAULT, true)
    }

    Context fn cuMemcpyDtoHAsync_v2(target: Raw, source: Address, size: usize, stream: Object) {
        submit(Copy::linear(host(target), device(source), size), stream, false)
    }

    Context fn cuMemcpyHtoD_v2(target: Address, source: Raw, size: usize) {
        submit(Copy::linear(device(target), host(source), size), DEFAULT, true)
    }

    Context fn cuMemcpyHtoDAsync_v2(target: Address, source: Raw, size: usize, stream: Object) {
        submit(Copy::linear(device(target), host(source), size), stream, false)
    }

    Context fn cuMemcpy(target: Address, source: Address, size: usize) {
        let (target, source) = (unified(target.0), unified(source.0));
        submit(Copy::linear(target, source, size), DEFAULT, true)
    }

    Context fn cuMemcpyAsync(target: Address, source: Address, size: usize, stream: Object) {
        let (target, source) = (unified(target.0), unified(source.0));
        submit(Copy::linear(target, source, size), stream, false)
    }
}

fn device(address: Address) -> End {
    End::Device(address.0)
}

fn host(pointer: Raw) -> End {
    End::Host(pointer.address())
}

/// An address of a device or of the host.
fn unified(address: u64) -> End {
    match driver::lock().space.find(address) {
        Ok(_) => End::Device(address),
        Err(_) => End::Host(address),
    }
}

fn copy_rows(copy: In<Copy2D>, stream: Object, waits: bool) -> Result {
    let copy = copy.get()?;
    let copy = Copy {
        source: rows(&copy.source, copy.width)?,
        target: rows(&copy.target, copy.width)?,
        width: copy.width,
        height: copy.height,
    };
    submit(copy, stream, waits)
}

fn rows(side: &Side, width: usize) -> Result<Rows> {
    let end = match side.kind {
        1 => End::Host(side.host.address()),
        2 => End::Device(side.device.0),
        4 => unified(side.device.0),
        _ => return Err(Code::NOT_SUPPORTED),
    };
    let pitch = if side.pitch == 0 { width } else { side.pitch };
    let offset = side
        .y
        .checked_mul(pitch)
        .and_then(|rows| rows.checked_add(side.x));
    Ok(Rows {
        end,
        offset: offset.ok_or(Code::INVALID_VALUE)?,
        pitch,
    })
}

fn submit(mut copy: Copy, stream: Object, waits: bool) -> Result {
    copy.check()?;
    if copy.width == 0 || copy.height == 0 {
        return Ok(());
    }
    let driver = driver::lock();
    let pageable = |rows: &Rows| match rows.end {
        End::Host(address) => !driver
            .space
            .is_pinned(address.saturating_add(rows.offset as u64)),
        _ => false,
    };
    // The memory belongs to the program again when the call returns.
    let waits = waits || pageable(&copy.target);
    if pageable(&copy.source) {
        copy.source.take(copy.width, copy.height)?;
    }
    let stream = driver.stream(stream.0)?;
    let device = driver.context(driver.streams.context(stream)?)?.device;
    let job = Box::new(move || copy.run(device));
    engine::submit_work(driver, stream, "copy", waits, job)
}
