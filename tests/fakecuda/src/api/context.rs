//! Contexts.

use std::ffi::{c_int, c_uint};

use crate::abi::{Object, Out, Raw};
use crate::driver::{self, Primary};
use crate::event::Event;
use crate::result::{Code, Result};
use crate::stream::Task;
use crate::{context, devices, engine};

entry_points! {
    Start fn cuCtxCreate_v2(context: Out<Object>, flags: c_uint, device: c_int) {
        context.set(create(flags, device)?)
    }

    Start fn cuCtxCreate_v3(
        context: Out<Object>,
        _affinity: Raw,
        _affinities: c_int,
        flags: c_uint,
        device: c_int,
    ) {
        context.set(create(flags, device)?)
    }

    Start fn cuCtxCreate_v4(context: Out<Object>, _parameters: Raw, flags: c_uint, device: c_int) {
        context.set(create(flags, device)?)
    }

    Start fn cuCtxDestroy_v2(context: Object) {
        let driver = driver::lock();
        let found = driver.contexts.get(&context.0).ok_or(Code::INVALID_CONTEXT)?;
        if found.is_primary {
            return Err(Code::INVALID_CONTEXT);
        }
        destroy(driver, context.0);
        if context::current() == Some(context.0) {
            context::pop()?;
        }
        Ok(())
    }

    Start fn cuCtxPushCurrent_v2(context: Object) {
        exists(context)?;
        context::push(context.0);
        Ok(())
    }

    Start fn cuCtxPopCurrent_v2(context: Out<Object>) {
        context.set_if_wanted(Object(context::pop()?));
        Ok(())
    }

    Start fn cuCtxSetCurrent(context: Object) {
        if context.0 != 0 {
            exists(context)?;
        }
        context::replace(Some(context.0).filter(|context| *context != 0));
        Ok(())
    }

    Start fn cuCtxGetCurrent(context: Out<Object>) {
        context.set(Object(context::current().unwrap_or(0)))
    }

    Start fn cuCtxGetDevice(device: Out<c_int>) {
        let current = context::current().ok_or(Code::INVALID_CONTEXT)?;
        let driver = driver::lock();
        let context = driver.contexts.get(&current);
        device.set(context.ok_or(Code::CONTEXT_IS_DESTROYED)?.device)
    }

    Context fn cuCtxGetFlags(flags: Out<c_uint>) {
        flags.set(driver::lock().current()?.1.flags)
    }

    Context fn cuCtxGetApiVersion(_context: Object, version: Out<c_uint>) { version.set(3020) }

    Context fn cuCtxSynchronize() {
        let driver = driver::lock();
        let (context, _) = driver.current()?;
        engine::finish_context(driver, context)
    }

    Context fn cuCtxGetLimit(value: Out<usize>, _limit: c_uint) { value.set(1024) }

    Context fn cuCtxSetLimit(_limit: c_uint, _value: usize) { Ok(()) }

    Context fn cuCtxEnablePeerAccess(peer: Object, _flags: c_uint) { exists(peer) }

    Context fn cuCtxDisablePeerAccess(peer: Object) { exists(peer) }

    Start fn cuCtxRecordEvent(context: Object, event: Object) {
        let driver = driver::lock();
        let marks = driver.context(context.0)?.marks;
        let Event { context: of, words, .. } = driver.event(event.0)?.clone();
        if of != context.0 {
            return Err(Code::INVALID_HANDLE);
        }
        let record = words.record();
        engine::submit(driver, marks, Task::Record(words, record))
    }

    Start fn cuDevicePrimaryCtxRetain(context: Out<Object>, device: c_int) {
        devices::get(device)?;
        let mut driver = driver::lock();
        if let Some(primary) = driver.primaries.get(&device) {
            let retained = primary.context;
            // A context with an error does not recover.
            driver.context(retained)?;
            if let Some(primary) = driver.primaries.get_mut(&device) {
                primary.references += 1;
            }
            return context.set(Object(retained));
        }
        let created = driver.create_context(device, 0, true)?;
        let primary = Primary { context: created, references: 1 };
        driver.primaries.insert(device, primary);
        context.set(Object(created))
    }

    Start fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        devices::get(device)?;
        let mut driver = driver::lock();
        let primary = driver.primaries.get_mut(&device).ok_or(Code::INVALID_CONTEXT)?;
        primary.references -= 1;
        if primary.references == 0 {
            let context = primary.context;
            driver.primaries.remove(&device);
            destroy(driver, context);
        }
        Ok(())
    }

    Start fn cuDevicePrimaryCtxReset_v2(device: c_int) {
        devices::get(device)?;
        let mut driver = driver::lock();
        if let Some(primary) = driver.primaries.remove(&device) {
            destroy(driver, primary.context);
        }
        Ok(())
    }

    Start fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, _flags: c_uint) {
        devices::get(device).map(|_| ())
    }

    Start fn cuDevicePrimaryCtxGetState(device: c_int, flags: Out<c_uint>, active: Out<c_int>) {
        devices::get(device)?;
        flags.set(0)?;
        active.set(c_int::from(driver::lock().primaries.contains_key(&device)))
    }
}

fn exists(context: Object) -> Result {
    let driver = driver::lock();
    let found = driver.contexts.contains_key(&context.0);
    found.then_some(()).ok_or(Code::INVALID_CONTEXT)
}

/// Creates a context and makes it current.
fn create(flags: c_uint, device: c_int) -> Result<Object> {
    devices::get(device)?;
    let context = driver::lock().create_context(device, flags, false)?;
    context::push(context);
    Ok(Object(context))
}

/// Waits for the work of a context, unless it has ended with an error, and removes it.
fn destroy(driver: driver::Locked, context: usize) {
    // What was queued in a context with an error never runs.
    let _ = engine::finish_context(driver, context);
    driver::lock().remove_context(context);
}
