//! Streams: queues of tasks, and which of them may run.
//!
//! This is bookkeeping under the lock of the driver; [`engine`](crate::engine) runs the tasks.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::event;
use crate::result::{Code, Result};
use crate::settings::Mode;

/// Work of a stream.
pub type Job = Box<dyn FnOnce() -> Result + Send>;

/// What a stream does.
pub enum Task {
    /// Work, with its name in the log.
    Work(&'static str, Job),
    /// Completes a record of an event.
    Record(event::Place, u64),
    /// Waits for a condition, which may come true by itself.
    Until(Box<dyn Fn() -> bool + Send>),
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::Work(name, _) => name,
            Task::Record(..) => "record",
            Task::Until(_) => "until",
        })
    }
}

/// A task in a queue.
#[derive(Debug)]
pub struct Item {
    /// The number in its stream, from 1.
    pub sequence: u64,
    /// The number among all tasks of the process.
    order: u64,
    /// Tasks of other streams that have to be done before, by stream and number.
    after: Vec<(usize, u64)>,
    pub task: Task,
}

/// A stream.
#[derive(Debug)]
struct Stream {
    context: usize,
    kind: Kind,
    items: VecDeque<Item>,
    /// The number of the last task that was enqueued.
    queued: u64,
    /// The number of the last task that is done.
    done: u64,
    /// The task that runs, and whether it is work.
    running: Option<bool>,
    has_worker: bool,
    /// How much of the held work may run.
    credits: u64,
    /// Destroyed, but not drained yet.
    is_orphan: bool,
}

/// How the tasks of a stream are ordered with those of others of its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The default stream. It waits for blocking streams, and they for it.
    Default,
    /// Created with `CU_STREAM_DEFAULT`.
    Blocking,
    /// Created with `CU_STREAM_NON_BLOCKING`.
    NonBlocking,
    /// Has the records of `cuCtxRecordEvent`, which wait for all streams. Not visible.
    Marks,
}

/// What the first task of a stream can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// There is no such stream.
    Gone,
    /// The queue is empty.
    Empty,
    /// A task of the stream runs.
    Running,
    /// It waits for another stream.
    Blocked,
    /// It waits for a condition that may come true by itself.
    Polling,
    /// It is work that the test has not released.
    Held,
    /// It can pass: it is no work.
    Passes,
    /// It is work that can run.
    Runs(u64),
}

/// All streams of the process.
#[derive(Debug)]
pub struct Streams {
    streams: BTreeMap<usize, Stream>,
    order: u64,
    mode: Mode,
}

impl Streams {
    /// No streams.
    pub const fn new() -> Streams {
        Streams {
            streams: BTreeMap::new(),
            order: 0,
            mode: Mode::Eager,
        }
    }

    /// Sets when work runs.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// When work runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Adds a stream under a new handle.
    pub fn add(&mut self, handle: usize, context: usize, kind: Kind) {
        let stream = Stream {
            context,
            kind,
            items: VecDeque::new(),
            queued: 0,
            done: 0,
            running: None,
            has_worker: false,
            credits: 0,
            is_orphan: false,
        };
        self.streams.insert(handle, stream);
    }

    /// The context of a stream that the program may use.
    pub fn context(&self, handle: usize) -> Result<usize> {
        let stream = self.streams.get(&handle).filter(|stream| !stream.is_orphan);
        stream
            .map(|stream| stream.context)
            .ok_or(Code::INVALID_HANDLE)
    }

    /// The context of a stream, also of one that the program has destroyed.
    pub fn context_of_any(&self, handle: usize) -> Option<usize> {
        self.streams.get(&handle).map(|stream| stream.context)
    }

    /// Whether a stream was created as one that default streams do not wait for.
    pub fn is_non_blocking(&self, handle: usize) -> bool {
        let stream = self.streams.get(&handle);
        stream.is_some_and(|stream| stream.kind == Kind::NonBlocking)
    }

    /// Ends a stream once it is drained. The program created it.
    pub fn orphan(&mut self, handle: usize) -> Result {
        let stream = self.streams.get_mut(&handle);
        let stream = stream.filter(|stream| {
            !stream.is_orphan && matches!(stream.kind, Kind::Blocking | Kind::NonBlocking)
        });
        stream.ok_or(Code::INVALID_HANDLE)?.is_orphan = true;
        self.remove_drained(handle);
        Ok(())
    }

    fn remove_drained(&mut self, handle: usize) {
        let is_drained = |stream: &Stream| {
            stream.is_orphan && stream.items.is_empty() && stream.running.is_none()
        };
        if self.streams.get(&handle).is_some_and(is_drained) {
            self.streams.remove(&handle);
        }
    }

    /// Removes the streams of a context.
    pub fn remove_context(&mut self, context: usize) {
        self.streams.retain(|_, stream| stream.context != context);
    }

    /// Drops the tasks of a context, which never run.
    pub fn drop_tasks(&mut self, context: usize) {
        let streams = self.streams.values_mut();
        for stream in streams.filter(|stream| stream.context == context) {
            stream.items.clear();
        }
    }

    /// Adds a task at the end of a stream. Returns its number.
    pub fn push(&mut self, handle: usize, task: Task) -> Result<u64> {
        let after = self.predecessors(handle);
        self.order += 1;
        let stream = self.streams.get_mut(&handle).ok_or(Code::INVALID_HANDLE)?;
        stream.queued += 1;
        stream.items.push_back(Item {
            sequence: stream.queued,
            order: self.order,
            after,
            task,
        });
        Ok(stream.queued)
    }

    /// The tasks of other streams that precede a new task of this one.
    fn predecessors(&self, handle: usize) -> Vec<(usize, u64)> {
        let Some(stream) = self.streams.get(&handle) else {
            return Vec::new();
        };
        let precedes = |other: Kind| match stream.kind {
            Kind::Default => other == Kind::Blocking,
            Kind::Blocking => other == Kind::Default,
            Kind::NonBlocking => false,
            Kind::Marks => other != Kind::Marks,
        };
        let others = self.streams.iter().filter(|(_, other)| {
            other.context == stream.context && precedes(other.kind) && other.done < other.queued
        });
        others
            .map(|(handle, other)| (*handle, other.queued))
            .collect()
    }

    /// The last tasks of the visible streams of a context.
    pub fn last_of_context(&self, context: usize) -> Vec<(usize, u64)> {
        let streams = self.streams.iter();
        streams
            .filter(|(_, stream)| stream.context == context && stream.kind != Kind::Marks)
            .map(|(handle, stream)| (*handle, stream.queued))
            .collect()
    }

    /// The last task of a stream.
    pub fn last(&self, handle: usize) -> Result<u64> {
        let stream = self.streams.get(&handle).ok_or(Code::INVALID_HANDLE)?;
        Ok(stream.queued)
    }

    /// Whether a task of a stream is done. It is if the stream is gone.
    pub fn is_done(&self, handle: usize, sequence: u64) -> bool {
        self.streams
            .get(&handle)
            .is_none_or(|stream| stream.done >= sequence)
    }

    /// What the first task of a stream can do.
    pub fn head(&self, handle: usize) -> Head {
        let Some(stream) = self.streams.get(&handle) else {
            return Head::Gone;
        };
        if stream.running.is_some() {
            return Head::Running;
        }
        let Some(item) = stream.items.front() else {
            return Head::Empty;
        };
        let mut after = item.after.iter();
        if !after.all(|(stream, sequence)| self.is_done(*stream, *sequence)) {
            return Head::Blocked;
        }
        match &item.task {
            Task::Until(is_true) if is_true() => Head::Passes,
            Task::Until(_) => Head::Polling,
            Task::Record(..) => Head::Passes,
            Task::Work(..) if self.mode == Mode::Hold && stream.credits == 0 => Head::Held,
            Task::Work(..) => Head::Runs(item.sequence),
        }
    }

    /// Whether the caller that has just added a task may run it itself.
    pub fn may_run_at_once(&self, handle: usize, sequence: u64) -> bool {
        let stream = self.streams.get(&handle);
        let first = stream.and_then(|stream| stream.items.front());
        first.is_some_and(|first| first.sequence == sequence)
            && match self.head(handle) {
                Head::Passes => true,
                Head::Runs(_) => self.mode == Mode::Eager,
                _ => false,
            }
    }

    /// Marks a stream as one with a worker. Returns whether it had none.
    pub fn needs_worker(&mut self, handle: usize) -> bool {
        let stream = self.streams.get_mut(&handle);
        stream.is_some_and(|stream| !std::mem::replace(&mut stream.has_worker, true))
    }

    /// Takes the first task of a stream, to run it. Returns the task and the context.
    pub fn begin(&mut self, handle: usize) -> Option<(Item, usize)> {
        let stream = self.streams.get_mut(&handle)?;
        let item = stream.items.pop_front()?;
        let is_work = matches!(item.task, Task::Work(..));
        if is_work {
            stream.credits = stream.credits.saturating_sub(1);
        }
        stream.running = Some(is_work);
        Some((item, stream.context))
    }

    /// Marks a task as done that was taken by [`begin`](Streams::begin).
    pub fn finish(&mut self, handle: usize, sequence: u64) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.running = None;
            stream.done = sequence;
        }
        self.remove_drained(handle);
    }

    /// Whether tasks run or are about to, so that other tasks may become the first ones.
    pub fn are_moving(&self) -> bool {
        let mut heads = self.streams.keys().map(|handle| self.head(*handle));
        heads.any(|head| matches!(head, Head::Running | Head::Passes | Head::Runs(_)))
    }

    /// The oldest held work that nothing else precedes, by stream and number; of this stream only,
    /// if one is given.
    pub fn oldest_held(&self, only: Option<usize>) -> Option<(usize, u64)> {
        let streams = self.streams.iter();
        let held = streams.filter(|(handle, _)| {
            only.is_none_or(|only| only == **handle) && self.head(**handle) == Head::Held
        });
        let heads = held.filter_map(|(handle, stream)| Some((*handle, stream.items.front()?)));
        let oldest = heads.min_by_key(|(_, item)| item.order);
        oldest.map(|(handle, item)| (handle, item.sequence))
    }

    /// Releases one held work of a stream.
    pub fn release(&mut self, handle: usize) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.credits += 1;
        }
    }

    /// Takes back what was released for a stream, if its task was dropped.
    pub fn withdraw(&mut self, handle: usize) {
        if let Some(stream) = self.streams.get_mut(&handle) {
            stream.credits = 0;
        }
    }

    /// How much work each stream has that is not done. Streams without work are left out.
    pub fn work(&self) -> Vec<(usize, usize)> {
        let count = |stream: &Stream| {
            let queued = stream.items.iter();
            let queued = queued.filter(|item| matches!(item.task, Task::Work(..)));
            queued.count() + usize::from(stream.running == Some(true))
        };
        let counts = self.streams.iter();
        let counts = counts.map(|(handle, stream)| (*handle, count(stream)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The number of streams that the program has created and not destroyed.
    pub fn created(&self) -> usize {
        let streams = self.streams.values().filter(|stream| {
            !stream.is_orphan && matches!(stream.kind, Kind::Blocking | Kind::NonBlocking)
        });
        streams.count()
    }
}
