//! Copies and fills: the work of streams that touches memory.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::driver;
use crate::memory::Memory;
use crate::result::{Code, Result};

/// One end of a copy.
#[derive(Debug)]
pub enum End {
    /// An address of a device, or of pinned memory.
    Device(u64),
    /// Memory of the host.
    Host(u64),
    /// Bytes that were taken from pageable memory at the call.
    Taken(Vec<u8>),
}

/// Rows of one end of a copy.
#[derive(Debug)]
pub struct Rows {
    pub end: End,
    /// The offset of the first row.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub pitch: usize,
}

/// A copy between two ends.
#[derive(Debug)]
pub struct Copy {
    pub source: Rows,
    pub target: Rows,
    /// Bytes of a row.
    pub width: usize,
    pub height: usize,
}

/// A fill with a pattern of 1, 2 or 4 bytes.
#[derive(Debug)]
pub struct Fill {
    pub address: u64,
    pub pitch: usize,
    pub pattern: Vec<u8>,
    /// Bytes of a row.
    pub width: usize,
    pub height: usize,
}

/// Bytes that a fill writes at a time.
const CHUNK: usize = 1 << 16;

/// Memory that stays mapped while the value exists.
struct Bytes {
    data: NonNull<u8>,
    size: usize,
    _memory: Option<Arc<Memory>>,
}

impl Rows {
    /// One row.
    pub fn one(end: End) -> Rows {
        Rows {
            end,
            offset: 0,
            pitch: 0,
        }
    }

    /// The bytes that `width` bytes of so many rows span.
    fn span(&self, width: usize, height: usize) -> Result<usize> {
        let rows = height.saturating_sub(1).checked_mul(self.pitch);
        rows.and_then(|rows| rows.checked_add(width))
            .ok_or(Code::INVALID_VALUE)
    }

    /// Takes the bytes of pageable memory, which its owner may change after the call.
    pub fn take(&mut self, width: usize, height: usize) -> Result {
        let End::Host(address) = self.end else {
            return Ok(());
        };
        let size = self.span(width, height)?;
        let data = host(address, self.offset)?;
        let mut taken = Vec::with_capacity(size);
        // SAFETY: the caller of the copy has promised that its source has these bytes, and the vector
        // has room for them.
        unsafe {
            data.copy_to_nonoverlapping(
                NonNull::from(&mut taken.spare_capacity_mut()[..]).cast(),
                size,
            );
            taken.set_len(size);
        }
        (self.end, self.offset) = (End::Taken(taken), 0);
        Ok(())
    }

    /// The memory at an offset, and how much of it follows.
    fn at(&self, device: i32, offset: usize, writes: bool) -> Result<Bytes> {
        let offset = self.offset.checked_add(offset).ok_or(Code::INVALID_VALUE)?;
        match &self.end {
            End::Device(address) => {
                let address = address.checked_add(offset as u64);
                let address = address.ok_or(Code::ILLEGAL_ADDRESS)?;
                let piece = driver::lock().space.resolve(device, address, writes)?;
                Ok(Bytes {
                    // SAFETY: the offset is inside the memory.
                    data: unsafe { piece.memory.data().add(piece.offset) },
                    size: piece.size,
                    _memory: Some(piece.memory),
                })
            }
            End::Host(address) => Ok(Bytes {
                data: host(*address, offset)?,
                size: usize::MAX,
                _memory: None,
            }),
            End::Taken(bytes) => {
                let rest = bytes.get(offset..).ok_or(Code::INVALID_VALUE)?;
                Ok(Bytes {
                    data: NonNull::from(rest).cast(),
                    size: rest.len(),
                    _memory: None,
                })
            }
        }
    }
}

fn host(address: u64, offset: usize) -> Result<NonNull<u8>> {
    let address = (address as usize).checked_add(offset);
    let pointer = address.map(std::ptr::with_exposed_provenance_mut);
    pointer.and_then(NonNull::new).ok_or(Code::INVALID_VALUE)
}

impl Copy {
    /// A copy of one row.
    pub fn linear(target: End, source: End, size: usize) -> Copy {
        Copy {
            source: Rows::one(source),
            target: Rows::one(target),
            width: size,
            height: 1,
        }
    }

    /// Checks the shape, as the driver does at the call.
    pub fn check(&self) -> Result {
        let fits = |rows: &Rows| self.height <= 1 || rows.pitch >= self.width;
        if !fits(&self.source) || !fits(&self.target) {
            return Err(Code::INVALID_VALUE);
        }
        self.source.span(self.width, self.height)?;
        self.target.span(self.width, self.height)?;
        Ok(())
    }

    /// Copies, for a device.
    pub fn run(&self, device: i32) -> Result {
        for row in 0..self.height {
            let mut at = 0;
            while at < self.width {
                let source = self
                    .source
                    .at(device, row * self.source.pitch + at, false)?;
                let target = self.target.at(device, row * self.target.pitch + at, true)?;
                let size = (self.width - at).min(source.size).min(target.size);
                if size == 0 {
                    return Err(Code::INVALID_VALUE);
                }
                // SAFETY: both ends have so many bytes, by the check of `at` or by the promise of the
                // caller of the copy. Others may access them too, as they may access a device.
                unsafe { source.data.copy_to(target.data, size) };
                at += size;
            }
        }
        Ok(())
    }
}

impl Fill {
    /// Fills, for a device.
    pub fn run(&self, device: i32) -> Result {
        // A multiple of the pattern, as is the size of all memory.
        let chunk = self.pattern.iter().copied().cycle();
        let chunk: Vec<u8> = chunk.take(self.width.min(CHUNK)).collect();
        let target = Rows::one(End::Device(self.address));
        for row in 0..self.height {
            let mut at = 0;
            while at < self.width {
                let target = target.at(device, row * self.pitch + at, true)?;
                let size = (self.width - at).min(target.size).min(chunk.len());
                // SAFETY: both have so many bytes. Others may access the memory too, as they may
                // access a device.
                unsafe { NonNull::from(&chunk[..]).cast().copy_to(target.data, size) };
                at += size;
            }
        }
        Ok(())
    }
}
