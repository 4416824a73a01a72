//! Runs the tasks of streams, and waits for them.
//!
//! A task runs in the thread that enqueues it, if that may be. If not, the stream gets a worker, a
//! thread that runs its tasks from then on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::driver::{self, Locked};
use crate::event::Place;
use crate::log;
use crate::result::{Code, Result};
use crate::settings::Mode;
use crate::stream::{Head, Job, Task};
use crate::thread;

/// Adds a task to a stream. The error is that of the task, if it has run.
pub fn submit(mut driver: Locked, stream: usize, task: Task) -> Result {
    let sequence = driver.streams.push(stream, task)?;
    if driver.streams.may_run_at_once(stream, sequence) {
        return run_first(driver, stream).1;
    }
    if driver.streams.needs_worker(stream) {
        thread::spawn(&format!("fakecuda-{stream:x}"), move || work(stream))?;
    }
    driver::progress();
    Ok(())
}

/// Adds work to a stream, and waits for it if that is asked for.
pub fn submit_work(
    driver: Locked,
    stream: usize,
    name: &'static str,
    waits: bool,
    job: Job,
) -> Result {
    submit(driver, stream, Task::Work(name, job))?;
    if waits {
        finish(driver::lock(), stream)
    } else {
        Ok(())
    }
}

/// Waits until the tasks that a stream has now are done.
pub fn finish(driver: Locked, stream: usize) -> Result {
    let context = driver.streams.context(stream)?;
    let last = driver.streams.last(stream)?;
    finish_tasks(driver, context, &[(stream, last)])
}

/// Waits until the tasks that a context has now are done.
pub fn finish_context(driver: Locked, context: usize) -> Result {
    let last = driver.streams.last_of_context(context);
    finish_tasks(driver, context, &last)
}

fn finish_tasks(mut driver: Locked, context: usize, tasks: &[(usize, u64)]) -> Result {
    loop {
        driver.context(context)?;
        if are_done(&driver, tasks) {
            return Ok(());
        }
        driver = driver::wait(driver);
    }
}

/// Fails with [`Code::NOT_READY`] if a stream has tasks.
pub fn query(driver: &Locked, stream: usize) -> Result {
    driver.context(driver.streams.context(stream)?)?;
    let last = driver.streams.last(stream)?;
    if are_done(driver, &[(stream, last)]) {
        Ok(())
    } else {
        Err(Code::NOT_READY)
    }
}

fn are_done(driver: &Locked, tasks: &[(usize, u64)]) -> bool {
    let mut tasks = tasks.iter();
    tasks.all(|(stream, last)| driver.streams.is_done(*stream, *last))
}

/// Waits until the latest record of an event is complete. The context is that of the event.
pub fn finish_event(mut driver: Locked, context: usize, event: &Place) -> Result {
    let latest = event.latest();
    while !event.is_complete(latest) {
        driver.context(context)?;
        driver = if event.is_shared() {
            driver::poll(driver)
        } else {
            driver::wait(driver)
        };
    }
    Ok(())
}

/// Runs the first task of a stream, and returns its result.
fn run_first(mut driver: Locked, stream: usize) -> (Locked, Result) {
    let Some((item, context)) = driver.streams.begin(stream) else {
        return (driver, Ok(()));
    };
    let result = match item.task {
        Task::Record(event, record) => {
            event.complete(record);
            Ok(())
        }
        Task::Until(_) => Ok(()),
        Task::Work(name, job) => {
            let failure = driver.next_failure.take();
            drop(driver);
            let result = match failure {
                Some(code) => Err(code),
                None => catch_unwind(AssertUnwindSafe(job)).unwrap_or(Err(Code::UNKNOWN)),
            };
            log::work(name, stream, item.sequence, result);
            driver = driver::lock();
            result
        }
    };
    driver.streams.finish(stream, item.sequence);
    if let Err(code) = result {
        driver.end(context, code);
    }
    driver::progress();
    (driver, result)
}

/// The worker of a stream.
fn work(stream: usize) {
    let mut driver = driver::lock();
    let mut delayed = 0;
    loop {
        driver = match driver.streams.head(stream) {
            Head::Gone => return,
            Head::Passes => run_first(driver, stream).0,
            Head::Runs(sequence) => match driver.streams.mode() {
                Mode::Delay(time) if delayed < sequence => {
                    delayed = sequence;
                    drop(driver);
                    std::thread::sleep(time);
                    driver::lock()
                }
                _ => run_first(driver, stream).0,
            },
            Head::Polling => driver::poll(driver),
            Head::Empty | Head::Running | Head::Blocked | Head::Held => driver::wait(driver),
        };
    }
}
