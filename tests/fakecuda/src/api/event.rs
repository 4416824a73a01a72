//! Events.

use std::ffi::c_uint;

use crate::abi::{Object, Out};
use crate::event::{DISABLE_TIMING, Event, FLAGS, INTERPROCESS, Place};
use crate::result::{Code, Result};
use crate::stream::Task;
use crate::{devices, driver, engine};

entry_points! {
    Context fn cuEventCreate(event: Out<Object>, flags: c_uint) {
        let is_shared = flags & INTERPROCESS != 0;
        if flags & !FLAGS != 0 || is_shared && flags & DISABLE_TIMING == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut driver = driver::lock();
        let (context, of) = driver.current()?;
        let device = devices::get(of.device)?.uuid();
        let words = Place::new(is_shared.then_some(device))?;
        let new = driver.handle() as usize;
        driver.events.insert(new, Event { context, flags, words });
        event.set(Object(new))
    }

    Start fn cuEventDestroy_v2(event: Object) { destroy(event) }

    Start fn cuEventDestroy(event: Object) { destroy(event) }

    Health fn cuEventRecord(event: Object, stream: Object) { record(event, stream) }

    Health fn cuEventRecordWithFlags(event: Object, stream: Object, _flags: c_uint) {
        record(event, stream)
    }

    Health fn cuEventQuery(event: Object) {
        let driver = driver::lock();
        let event = driver.event(event.0)?;
        driver.context(event.context)?;
        if !event.words.is_complete(event.words.latest()) {
            return Err(Code::NOT_READY);
        }
        Ok(())
    }

    Health fn cuEventSynchronize(event: Object) {
        let driver = driver::lock();
        let Event { context, words, .. } = driver.event(event.0)?.clone();
        engine::finish_event(driver, context, &words)
    }

    Health fn cuEventElapsedTime(milliseconds: Out<f32>, first: Object, last: Object) {
        elapsed(milliseconds, first, last)
    }

    Health fn cuEventElapsedTime_v2(milliseconds: Out<f32>, first: Object, last: Object) {
        elapsed(milliseconds, first, last)
    }
}

fn destroy(event: Object) -> Result {
    let removed = driver::lock().events.remove(&event.0);
    // The words live on while a stream has to complete them.
    removed.map(drop).ok_or(Code::INVALID_HANDLE)
}

fn record(event: Object, stream: Object) -> Result {
    let driver = driver::lock();
    let stream = driver.stream(stream.0)?;
    let Event { context, words, .. } = driver.event(event.0)?.clone();
    driver.context(context)?;
    if driver.streams.context(stream)? != context {
        return Err(Code::INVALID_HANDLE);
    }
    let record = words.record();
    engine::submit(driver, stream, Task::Record(words, record))
}

fn elapsed(milliseconds: Out<f32>, first: Object, last: Object) -> Result {
    let driver = driver::lock();
    let time = |event: Object| {
        let event = driver.event(event.0)?;
        let latest = event.words.latest();
        match () {
            () if event.flags & DISABLE_TIMING != 0 || latest == 0 => Err(Code::INVALID_HANDLE),
            () if !event.words.is_complete(latest) => Err(Code::NOT_READY),
            () => Ok(event.words.time()),
        }
    };
    let (first, last) = (time(first)?, time(last)?);
    milliseconds.set((last as f64 - first as f64) as f32 / 1e6)
}
