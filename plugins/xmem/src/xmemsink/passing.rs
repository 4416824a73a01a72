//! Which buffers are passed on as they are: in memory with a descriptor that the sink did not make.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gst::glib;
use gst::prelude::*;
use xmem_core::{ImportedMemory, Publisher};

use crate::bindings;
use crate::fdmemory::{self, Known};
use crate::framememory;

/// Leases that a source in front of us keeps for the frames to come.
const SPARE_LEASES: u32 = 2;
/// Most buffers that are held of a pool that does not say how many it has, or of none.
const MAX_HELD: u32 = 32;
/// Memory that is taken in without a thought, and how many frames there have to be for each that
/// comes later. Where each frame has memory of its own, to tell clients of it costs more than a
/// copy.
const FREE: u64 = 256;
const FRAMES_A_MEMORY: u64 = 16;
/// For how many frames memory is remembered whose maker wraps it anew with each of them, and most
/// of it.
const REMEMBERED: u64 = 300;
const MAX_REMEMBERED: usize = 64;

/// A buffer that can be passed on.
pub(super) struct Passable {
    pub(super) memory: ImportedMemory,
    /// Where its bytes are in that memory.
    pub(super) range: Range<usize>,
    pub(super) hold: Held,
}

/// A buffer that clients may read, and the count that it is one of.
pub(super) struct Held {
    #[expect(dead_code, reason = "held for its drop")]
    buffer: gst::Buffer,
    count: Option<Arc<AtomicU32>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(count) = &self.count {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Why a buffer is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It never can be.
    Unfit,
    /// Its maker has to have some left.
    TooManyHeld,
    /// There are clients that take no memory that others may write.
    Unsealed,
}

/// A pool whose buffers were passed on; `None` stands for all buffers that have none.
struct Source {
    pool: Option<glib::WeakRef<gst::BufferPool>>,
    most: u32,
    held: Arc<AtomicU32>,
}

/// Memory by what the system knows it as.
struct Remembered {
    device: u64,
    inode: u64,
    memory: Known,
    frame: u64,
}

/// What is known of the memory and the pools that come by.
#[derive(Default)]
pub(super) struct Passing {
    frames: u64,
    taken_in: u64,
    remembered: Vec<Remembered>,
    sources: Vec<Source>,
}

impl Passing {
    /// Whether the buffer can be passed on now. Has the publisher give back what it can where its
    /// maker would have too few left.
    pub(super) fn look(
        &mut self,
        buffer: &gst::Buffer,
        publisher: &Publisher,
    ) -> Result<Passable, Refused> {
        self.frames += 1;
        let oldest = self.frames.saturating_sub(REMEMBERED);
        self.remembered.retain(|one| one.frame >= oldest);
        let (first, range) = contiguous(buffer).ok_or(Refused::Unfit)?;
        if let Some(frame) = framememory::frame_of(first) {
            let memory = frame.memory().ok_or(Refused::Unfit)?;
            if !publisher.reclaim(|| frame.free_leases() >= SPARE_LEASES) {
                return Err(Refused::TooManyHeld);
            }
            return Ok(passable(memory, range, buffer, None));
        }
        let memory = self.memory(first).ok_or(Refused::Unfit)?;
        if range.end > memory.size() {
            return Err(Refused::Unfit);
        }
        let (held, most) = self.source(buffer);
        if !publisher.reclaim(|| held.load(Ordering::Relaxed) < most) {
            return Err(Refused::TooManyHeld);
        }
        held.fetch_add(1, Ordering::Relaxed);
        Ok(passable(memory, range, buffer, Some(held)))
    }

    /// Remembers no memory for the frames to come: whose maker wants it back may give it up.
    pub(super) fn forget(&mut self) {
        self.remembered.clear();
    }

    /// What the memory is passed on as.
    fn memory(&mut self, memory: &gst::MemoryRef) -> Known {
        if let Some(known) = fdmemory::known(memory) {
            return known;
        }
        let fd = fdmemory::descriptor(memory)?;
        let file = File::from(fd.try_clone_to_owned().ok()?).metadata().ok()?;
        let mut remembered = self.remembered.iter_mut();
        let same = |one: &&mut Remembered| (one.device, one.inode) == (file.dev(), file.ino());
        let known = match remembered.find(same) {
            Some(one) => {
                one.frame = self.frames;
                one.memory.clone()
            }
            None if self.taken_in >= FREE + self.frames / FRAMES_A_MEMORY => return None,
            None => {
                self.taken_in += 1;
                let adopted = ImportedMemory::new(fd).inspect_err(|error| {
                    gst::debug!(crate::CAT, "Copying: {error}");
                });
                let known = adopted.ok();
                if self.remembered.len() >= MAX_REMEMBERED {
                    self.remembered.remove(0);
                }
                self.remembered.push(Remembered {
                    device: file.dev(),
                    inode: file.ino(),
                    memory: known.clone(),
                    frame: self.frames,
                });
                known
            }
        };
        fdmemory::note(memory, &known);
        known
    }

    /// How many buffers of the same pool are held, and how many may be.
    fn source(&mut self, buffer: &gst::BufferRef) -> (Arc<AtomicU32>, u32) {
        let pool = bindings::pool_of(buffer);
        let same = |source: &&Source| match (&source.pool, &pool) {
            (None, None) => true,
            (Some(one), Some(other)) => one.upgrade().as_ref() == Some(other),
            _ => false,
        };
        if let Some(source) = self.sources.iter().find(same) {
            return (source.held.clone(), source.most);
        }
        self.sources.retain(|source| {
            let pool = source.pool.as_ref();
            pool.is_none_or(|pool| pool.upgrade().is_some())
        });
        let params = pool.as_ref().and_then(|pool| pool.config().params());
        let source = Source {
            most: match params {
                Some((_, _, _, max)) if max > 0 => max / 2,
                _ => MAX_HELD,
            },
            pool: pool.map(|pool| pool.downgrade()),
            held: Arc::default(),
        };
        let found = (source.held.clone(), source.most);
        self.sources.push(source);
        found
    }
}

fn passable(
    memory: ImportedMemory,
    range: Range<usize>,
    buffer: &gst::Buffer,
    count: Option<Arc<AtomicU32>>,
) -> Passable {
    let buffer = buffer.clone();
    Passable {
        memory,
        range,
        hold: Held { buffer, count },
    }
}

/// The buffer's first memory, and where its bytes are in the file of which that is a part, where
/// they lie in it one after another.
fn contiguous(buffer: &gst::BufferRef) -> Option<(&gst::MemoryRef, Range<usize>)> {
    let mut memories = buffer.iter_memories();
    let first = memories.next()?;
    fdmemory::descriptor(first)?;
    let start = first.offset();
    let mut end = start + first.size();
    for memory in memories {
        if !fdmemory::is_same(first, memory) || memory.offset() != end {
            return None;
        }
        end += memory.size();
    }
    Some((first, start..end))
}
