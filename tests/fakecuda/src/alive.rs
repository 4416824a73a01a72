//! What a process has not given back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::driver::{self, Driver};
use crate::log;
use crate::space::Purpose;

/// The counts of everything that is alive, as fields of a line.
pub fn fields(driver: &Driver) -> String {
    let contexts = driver.contexts.values().filter(|one| !one.is_primary);
    let primaries = driver.primaries.values().map(|one| one.references as usize);
    let space = &driver.space;
    let figures = [
        ("contexts", contexts.count()),
        ("primaries", primaries.sum()),
        (
            "allocations",
            space.count(|purpose| matches!(purpose, Purpose::Allocated(_))),
        ),
        (
            "opened",
            space.count(|purpose| matches!(purpose, Purpose::Opened(..))),
        ),
        ("handles", driver.allocations.len()),
        (
            "mappings",
            space.count(|purpose| matches!(purpose, Purpose::Mapped(_))),
        ),
        ("reservations", space.reserved()),
        (
            "pinned",
            space.count(|purpose| matches!(purpose, Purpose::Pinned)),
        ),
        (
            "registered",
            space.count(|purpose| matches!(purpose, Purpose::Registered)),
        ),
        ("streams", driver.streams.created()),
        ("events", driver.events.len()),
        ("bytes", bytes(driver)),
    ];
    let mut line = String::new();
    for (name, count) in figures {
        // Writing to a string does not fail.
        let _ = write!(line, " {name}={count}");
    }
    line
}

/// The device memory that this process has allocated.
fn bytes(driver: &Driver) -> usize {
    let handles = driver.allocations.values().map(|one| &one.memory);
    let memory = driver.space.memory().chain(handles);
    // Memory can have a handle and several mappings.
    let memory: BTreeMap<_, _> = memory
        .map(|memory| (Arc::as_ptr(memory), memory.counted()))
        .collect();
    memory.values().sum()
}

/// Has the process say what is alive when it ends.
pub fn tell_at_exit() {
    extern "C" fn tell() {
        if log::is_on() && driver::is_started() {
            let fields = fields(&driver::lock());
            log::call("exit", Ok(()), &fields);
        }
    }
    // SAFETY: the function stays loaded until the process has ended. Without it only a line of the
    // log is missing.
    unsafe { libc::atexit(tell) };
}
