//! Streams, host functions, and operations on values in memory.

use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::abi::{Address, Object, Out, Raw};
use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::space::Piece;
use crate::stream::{Kind, Task};
use crate::{driver, engine};

/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: u32 = 1;

/// `CUhostFn`
type HostFunction = Option<extern "C" fn(data: usize)>;

entry_points! {
    Context fn cuStreamCreate(stream: Out<Object>, flags: c_uint) {
        stream.set(create(flags)?)
    }

    Context fn cuStreamCreateWithPriority(stream: Out<Object>, flags: c_uint, _priority: c_int) {
        stream.set(create(flags)?)
    }

    Health fn cuStreamDestroy(stream: Object) { destroy(stream) }

    Health fn cuStreamDestroy_v2(stream: Object) { destroy(stream) }

    Health fn cuStreamSynchronize(stream: Object) {
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        engine::finish(driver, stream)
    }

    Health fn cuStreamQuery(stream: Object) {
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        engine::query(&driver, stream)
    }

    Health fn cuStreamGetCtx(stream: Object, context: Out<Object>) {
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        context.set(Object(driver.streams.context(stream)?))
    }

    Health fn cuStreamGetFlags(stream: Object, flags: Out<c_uint>) {
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        flags.set(c_uint::from(driver.streams.is_non_blocking(stream)))
    }

    Health fn cuStreamIsCapturing(stream: Object, status: Out<c_uint>) {
        driver::lock().stream(stream.0)?;
        status.set(0)
    }

    Health fn cuStreamWaitEvent(stream: Object, event: Object, _flags: c_uint) {
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        let words = driver.event(event.0)?.words.clone();
        // Records that come later do not matter.
        let latest = words.latest();
        engine::submit(driver, stream, Task::Until(Box::new(move || words.is_complete(latest))))
    }

    Health fn cuLaunchHostFunc(stream: Object, function: HostFunctionPointer, data: Raw) {
        let function = function.0.ok_or(Code::INVALID_VALUE)?;
        let data = data.0.expose_provenance();
        let driver = driver::lock();
        let stream = driver.stream(stream.0)?;
        let job = move || {
            function(data);
            Ok(())
        };
        engine::submit_work(driver, stream, "function", false, Box::new(job))
    }

    Health fn cuStreamWriteValue32_v2(stream: Object, address: Address, value: u32, _flags: c_uint) {
        write_value(stream, address, move |word| {
            // SAFETY: the caller has checked that four bytes at this address can be written.
            unsafe { AtomicU32::from_ptr(word.cast()) }.store(value, Ordering::Release);
        }, 4)
    }

    Health fn cuStreamWriteValue64_v2(stream: Object, address: Address, value: u64, _flags: c_uint) {
        write_value(stream, address, move |word| {
            // SAFETY: the caller has checked that eight bytes at this address can be written.
            unsafe { AtomicU64::from_ptr(word.cast()) }.store(value, Ordering::Release);
        }, 8)
    }

    Health fn cuStreamWaitValue32_v2(stream: Object, address: Address, value: u32, flags: c_uint) {
        wait_value(stream, address, 4, move |word| {
            // SAFETY: the caller has checked that four bytes at this address can be read.
            let found = unsafe { AtomicU32::from_ptr(word.cast()) }.load(Ordering::Acquire);
            match flags & 3 {
                0 => found.wrapping_sub(value) as i32 >= 0,
                1 => found == value,
                2 => found & value != 0,
                _ => !(found | value) != 0,
            }
        })
    }

    Health fn cuStreamWaitValue64_v2(stream: Object, address: Address, value: u64, flags: c_uint) {
        wait_value(stream, address, 8, move |word| {
            // SAFETY: the caller has checked that eight bytes at this address can be read.
            let found = unsafe { AtomicU64::from_ptr(word.cast()) }.load(Ordering::Acquire);
            match flags & 3 {
                0 => found.wrapping_sub(value) as i64 >= 0,
                1 => found == value,
                2 => found & value != 0,
                _ => !(found | value) != 0,
            }
        })
    }
}

/// A pointer to a function of the program.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct HostFunctionPointer(HostFunction);

impl crate::abi::Logged for HostFunctionPointer {
    fn log(&self, _: &str, _: &mut String) {}
}

fn create(flags: c_uint) -> Result<Object> {
    let kind = match flags {
        0 => Kind::Blocking,
        NON_BLOCKING => Kind::NonBlocking,
        _ => return Err(Code::INVALID_VALUE),
    };
    let mut driver = driver::lock();
    let (context, _) = driver.current()?;
    let new = driver.handle() as usize;
    driver.streams.add(new, context, kind);
    Ok(Object(new))
}

fn destroy(stream: Object) -> Result {
    driver::lock().streams.orphan(stream.0)?;
    driver::progress();
    Ok(())
}

/// The memory of an aligned value.
fn value(
    driver: &driver::Locked,
    stream: usize,
    address: Address,
    size: usize,
    writes: bool,
) -> Result<Piece> {
    if !address.0.is_multiple_of(size as u64) {
        return Err(Code::INVALID_VALUE);
    }
    let device = driver.context(driver.streams.context(stream)?)?.device;
    let piece = driver.space.resolve(device, address.0, writes)?;
    (piece.size >= size)
        .then_some(piece)
        .ok_or(Code::ILLEGAL_ADDRESS)
}

fn pointer(memory: &Memory, offset: usize) -> *mut u8 {
    memory.data().as_ptr().wrapping_add(offset)
}

fn write_value(
    stream: Object,
    address: Address,
    write: impl FnOnce(*mut u8) + Send + 'static,
    size: usize,
) -> Result {
    let driver = driver::lock();
    let stream = driver.stream(stream.0)?;
    let job = move || {
        let piece = value(&driver::lock(), stream, address, size, true)?;
        write(pointer(&piece.memory, piece.offset));
        Ok(())
    };
    engine::submit_work(driver, stream, "write_value", false, Box::new(job))
}

fn wait_value(
    stream: Object,
    address: Address,
    size: usize,
    is_true: impl Fn(*mut u8) -> bool + Send + 'static,
) -> Result {
    let driver = driver::lock();
    let stream = driver.stream(stream.0)?;
    let piece = value(&driver, stream, address, size, false)?;
    let is_true = move || is_true(pointer(&piece.memory, piece.offset));
    engine::submit(driver, stream, Task::Until(Box::new(is_true)))
}
