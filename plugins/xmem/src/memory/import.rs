//! Which buffers are published without a copy in memory that the sink did not make.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gst::prelude::*;
use xmem_core::{ImportedMemory, Publisher};

use super::attached::{self, Import};
use super::fd::FileId;
use super::kind::MemoryKind;
use crate::bindings;

/// The number of leases that an upstream xmemsrc keeps free for its next frames.
const SPARE_LEASES: u32 = 2;
/// The maximum number of buffers held of a pool that does not say how many it has, and of buffers
/// without a pool.
const MAX_HELD: u32 = 32;
/// The number of memories that are imported unconditionally; each further one needs
/// `FRAMES_A_MEMORY` more frames. If each frame has memory of its own, announcing the memory to
/// clients costs more than a copy.
const FREE_IMPORTS: u64 = 256;
const FRAMES_A_MEMORY: u64 = 16;
/// For how many frames an import is remembered, and the maximum number of those. Some elements wrap
/// the same file in a new `GstMemory` for each frame.
const REMEMBERED: u64 = 300;
const MAX_REMEMBERED: usize = 64;

/// A buffer that can be published without a copy.
pub(crate) struct Importable {
    pub(crate) memory: ImportedMemory,
    /// The range of the buffer's bytes in `memory`.
    pub(crate) range: Range<usize>,
    pub(crate) hold: Held,
}

/// Keeps a buffer alive while clients may read it, and counts it.
pub(crate) struct Held {
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

/// Why a buffer is not published without a copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The memory cannot be imported, or is not contiguous.
    Unfit,
    /// The buffer's pool, or the upstream xmemsrc, would have too few left.
    TooManyHeld,
    /// There are clients that refuse memory that other processes may write.
    Unsealed,
}

/// A pool whose buffers were published. `pool` is `None` for all buffers without a pool.
struct Source {
    pool: Option<glib::WeakRef<gst::BufferPool>>,
    max: u32,
    held: Arc<AtomicU32>,
}

/// An import, found again by the file of the memory.
struct Remembered {
    id: FileId,
    memory: Import,
    frame: u64,
}

/// The imports of the stream, and the pools of its buffers.
#[derive(Default)]
pub(crate) struct Importer {
    frames: u64,
    imported: u64,
    remembered: Vec<Remembered>,
    sources: Vec<Source>,
}

impl Importer {
    /// Imports the memory of a buffer, if it can be published without a copy now. `kind` is the kind
    /// of the buffer's first memory. If upstream would have too few buffers left, the publisher
    /// first takes back the ones that clients no longer hold.
    pub(crate) fn import(
        &mut self,
        buffer: &gst::Buffer,
        kind: MemoryKind<'_>,
        publisher: &Publisher,
    ) -> Result<Importable, Refused> {
        self.frames += 1;
        let oldest = self.frames.saturating_sub(REMEMBERED);
        self.remembered.retain(|one| one.frame >= oldest);
        let (first, range) = contiguous(buffer).ok_or(Refused::Unfit)?;
        if let Some(frame) = kind.frame() {
            let memory = frame.memory().ok_or(Refused::Unfit)?;
            let range = match frame.device() {
                // Such memory begins where the frame does.
                Some(_) => frame.offset() + range.start..frame.offset() + range.end,
                None => range,
            };
            if !publisher.reclaim(|| frame.free_leases() >= SPARE_LEASES) {
                return Err(Refused::TooManyHeld);
            }
            return Ok(importable(memory, range, buffer, None));
        }
        let memory = self.import_memory(first, kind).ok_or(Refused::Unfit)?;
        if range.end > memory.size() {
            return Err(Refused::Unfit);
        }
        let (held, max) = self.source(buffer);
        if !publisher.reclaim(|| held.load(Ordering::Relaxed) < max) {
            return Err(Refused::TooManyHeld);
        }
        held.fetch_add(1, Ordering::Relaxed);
        Ok(importable(memory, range, buffer, Some(held)))
    }

    /// Forgets the imports: the element that owns the memory wants it back, and may free it.
    pub(crate) fn forget(&mut self) {
        self.remembered.clear();
    }

    /// Returns the import of a memory: the one that is attached, a remembered one, or a new one.
    fn import_memory(&mut self, memory: &gst::MemoryRef, kind: MemoryKind<'_>) -> Import {
        if !kind.is_importable() {
            return None;
        }
        if let Some(import) = attached::import_of(memory) {
            return import;
        }
        let id = kind.id()?;
        let import = match self.remembered.iter_mut().find(|one| one.id == id) {
            Some(one) => {
                one.frame = self.frames;
                one.memory.clone()
            }
            None if self.imported >= FREE_IMPORTS + self.frames / FRAMES_A_MEMORY => return None,
            None => {
                self.imported += 1;
                let import = kind.import()?.inspect_err(|error| {
                    gst::debug!(
                        crate::log::CAT,
                        "Copying, because the memory cannot be imported: {error}"
                    );
                });
                let import = import.ok();
                if self.remembered.len() >= MAX_REMEMBERED {
                    self.remembered.remove(0);
                }
                self.remembered.push(Remembered {
                    id,
                    memory: import.clone(),
                    frame: self.frames,
                });
                import
            }
        };
        attached::attach(memory, &import);
        import
    }

    /// Returns the number of buffers of this buffer's pool that are held, and their maximum.
    fn source(&mut self, buffer: &gst::BufferRef) -> (Arc<AtomicU32>, u32) {
        let pool = bindings::pool_of(buffer);
        let same = |source: &&Source| match (&source.pool, &pool) {
            (None, None) => true,
            (Some(one), Some(other)) => one.upgrade().as_ref() == Some(other),
            _ => false,
        };
        if let Some(source) = self.sources.iter().find(same) {
            return (source.held.clone(), source.max);
        }
        self.sources.retain(|source| {
            let pool = source.pool.as_ref();
            pool.is_none_or(|pool| pool.upgrade().is_some())
        });
        let params = pool.as_ref().and_then(|pool| pool.config().params());
        let source = Source {
            max: match params {
                Some((_, _, _, max)) if max > 0 => max / 2,
                _ => MAX_HELD,
            },
            pool: pool.map(|pool| pool.downgrade()),
            held: Arc::default(),
        };
        let found = (source.held.clone(), source.max);
        self.sources.push(source);
        found
    }
}

fn importable(
    memory: ImportedMemory,
    range: Range<usize>,
    buffer: &gst::Buffer,
    count: Option<Arc<AtomicU32>>,
) -> Importable {
    let buffer = buffer.clone();
    Importable {
        memory,
        range,
        hold: Held { buffer, count },
    }
}

/// Returns the buffer's first memory, and the range of the buffer's bytes in the whole memory of
/// which that is a part; `None` if the memories do not follow each other in it.
fn contiguous(buffer: &gst::BufferRef) -> Option<(&gst::MemoryRef, Range<usize>)> {
    let mut memories = buffer.iter_memories();
    let first = memories.next()?;
    let start = first.offset();
    let mut end = start + first.size();
    for memory in memories {
        if !attached::is_same(first, memory) || memory.offset() != end {
            return None;
        }
        end += memory.size();
    }
    Some((first, start..end))
}
