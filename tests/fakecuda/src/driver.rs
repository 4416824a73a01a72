//! The state of the driver in this process, behind one lock that is held for short times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::context::{self, Context};
use crate::event::Event;
use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::settings::Settings;
use crate::space::Space;
use crate::stream::{Kind, Streams};

/// Memory of `cuMemCreate` or an import.
#[derive(Debug)]
pub struct Allocation {
    pub memory: Arc<Memory>,
    pub device: i32,
    pub is_exportable: bool,
    /// How often it has to be released.
    pub references: u32,
}

/// A primary context, while it is retained.
#[derive(Debug)]
pub struct Primary {
    pub context: usize,
    pub references: u32,
}

/// The state of the driver.
#[derive(Debug)]
pub struct Driver {
    handles: u64,
    /// The error of all calls after the test has taken the devices away.
    pub lost: Option<Code>,
    /// The error of the next work that runs.
    pub next_failure: Option<Code>,
    pub contexts: BTreeMap<usize, Context>,
    pub primaries: BTreeMap<i32, Primary>,
    pub streams: Streams,
    pub events: BTreeMap<usize, Event>,
    pub allocations: BTreeMap<u64, Allocation>,
    pub space: Space,
}

/// The state, while it is locked.
pub type Locked = MutexGuard<'static, Driver>;

static DRIVER: Mutex<Driver> = Mutex::new(Driver {
    // Small numbers are special handles of streams.
    handles: 0x1000,
    lost: None,
    next_failure: None,
    contexts: BTreeMap::new(),
    primaries: BTreeMap::new(),
    streams: Streams::new(),
    events: BTreeMap::new(),
    allocations: BTreeMap::new(),
    space: Space::new(),
});

/// Signalled whenever a task is added or done, or may run now.
static PROGRESS: Condvar = Condvar::new();

/// The process that has called `cuInit`, 0 before.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Locks the state.
pub fn lock() -> Locked {
    // After a panic the state is as consistent as a test needs.
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notifies all that wait for progress.
pub fn progress() {
    PROGRESS.notify_all();
}

/// Waits for progress.
pub fn wait(driver: Locked) -> Locked {
    PROGRESS
        .wait(driver)
        .unwrap_or_else(PoisonError::into_inner)
}

/// Waits for progress, or for a condition of another process, which nothing signals.
pub fn poll(driver: Locked) -> Locked {
    let waited = PROGRESS.wait_timeout(driver, Duration::from_millis(1));
    waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Makes this process the one that uses the driver. Returns whether it was not before.
pub fn start(settings: &Settings) -> bool {
    let mut driver = lock();
    let is_new = OWNER.swap(std::process::id(), Ordering::AcqRel) == 0;
    if is_new {
        driver.streams.set_mode(settings.mode);
    }
    is_new
}

/// Whether this process has called `cuInit`.
pub fn is_started() -> bool {
    OWNER.load(Ordering::Acquire) == std::process::id()
}

/// Whether this process was forked from one that has called `cuInit`.
pub fn is_forked() -> bool {
    let owner = OWNER.load(Ordering::Acquire);
    owner != 0 && owner != std::process::id()
}

impl Driver {
    /// A new handle.
    pub fn handle(&mut self) -> u64 {
        self.handles += 0x10;
        self.handles
    }

    /// Creates a context.
    pub fn create_context(&mut self, device: i32, flags: u32, is_primary: bool) -> Result<usize> {
        self.lost.map_or(Ok(()), Err)?;
        let context = self.handle() as usize;
        let (default_stream, marks) = (self.handle() as usize, self.handle() as usize);
        self.streams.add(default_stream, context, Kind::Default);
        self.streams.add(marks, context, Kind::Marks);
        let created = Context {
            device,
            is_primary,
            flags,
            error: None,
            default_stream,
            marks,
        };
        self.contexts.insert(context, created);
        Ok(context)
    }

    /// A context that exists and has no error.
    pub fn context(&self, context: usize) -> Result<&Context> {
        let found = self.contexts.get(&context);
        let found = found.ok_or(Code::CONTEXT_IS_DESTROYED)?;
        found.error.map_or(Ok(found), Err)
    }

    /// The current context, with its handle. It exists and has no error.
    pub fn current(&self) -> Result<(usize, &Context)> {
        self.lost.map_or(Ok(()), Err)?;
        let current = context::current().ok_or(Code::INVALID_CONTEXT)?;
        Ok((current, self.context(current)?))
    }

    /// The error that calls return which do not need a context.
    pub fn health(&self) -> Result {
        self.lost.map_or(Ok(()), Err)?;
        let current = context::current().and_then(|context| self.contexts.get(&context));
        current
            .and_then(|context| context.error)
            .map_or(Ok(()), Err)
    }

    /// Ends a context with an error. Its tasks never run.
    pub fn end(&mut self, context: usize, error: Code) {
        if let Some(context) = self.contexts.get_mut(&context) {
            context.error.get_or_insert(error);
        }
        self.streams.drop_tasks(context);
        progress();
    }

    /// Takes the devices away.
    pub fn lose(&mut self, error: Code) {
        self.lost = Some(error);
        let contexts: Vec<_> = self.contexts.keys().copied().collect();
        contexts
            .into_iter()
            .for_each(|context| self.end(context, error));
    }

    /// Removes a context with everything in it.
    pub fn remove_context(&mut self, context: usize) {
        self.streams.remove_context(context);
        self.space.remove_context(context);
        self.events.retain(|_, event| event.context != context);
        self.contexts.remove(&context);
        progress();
    }

    /// The stream behind a handle, in the current context if it is a default stream.
    pub fn stream(&self, handle: usize) -> Result<usize> {
        match handle {
            // 1 is CU_STREAM_LEGACY.
            0 | 1 => Ok(self.current()?.1.default_stream),
            // CU_STREAM_PER_THREAD
            2 => Err(Code::NOT_SUPPORTED),
            _ => self.streams.context(handle).map(|_| handle),
        }
    }

    /// The event behind a handle.
    pub fn event(&self, handle: usize) -> Result<&Event> {
        self.events.get(&handle).ok_or(Code::INVALID_HANDLE)
    }
}
