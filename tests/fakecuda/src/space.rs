//! The address space of the devices: which memory is behind an address, and who may access it.
//!
//! Addresses are reserved in the process, so that they are no others' and nothing but the engine can
//! access them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::memory::Memory;
use crate::result::{Code, Result};
use crate::shared::id_in;

/// The unit of allocations and mappings of virtual memory.
pub const GRANULARITY: usize = 2 << 20;

/// `CU_MEM_ACCESS_FLAGS_PROT_READ`
pub const READ: u32 = 1;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`
pub const READ_WRITE: u32 = 3;

/// Reserved addresses. Dropping the value gives them back.
#[derive(Debug)]
pub struct Block {
    address: u64,
    size: usize,
}

/// What a range of addresses is.
#[derive(Debug)]
pub enum Purpose {
    /// `cuMemAlloc_v2`, in this context.
    Allocated(usize),
    /// `cuIpcOpenMemHandle_v2`, in this context, so many times.
    Opened(usize, u32),
    /// `cuMemMap`, with the access of each device.
    Mapped(BTreeMap<i32, u32>),
    /// Memory of the host that this driver allocated.
    Pinned,
    /// Memory of the host that its owner registered.
    Registered,
}

/// Addresses with memory behind them.
#[derive(Debug)]
pub struct Range {
    pub memory: Arc<Memory>,
    pub purpose: Purpose,
    /// The addresses, unless they are part of a reservation or of the host.
    _block: Option<Block>,
}

/// All ranges and reservations of the process.
#[derive(Debug)]
pub struct Space {
    ranges: BTreeMap<u64, Range>,
    reservations: BTreeMap<u64, Block>,
}

/// Memory behind an address, and how much of it follows there.
#[derive(Debug)]
pub struct Piece {
    pub memory: Arc<Memory>,
    pub offset: usize,
    pub size: usize,
}

impl Block {
    /// Reserves addresses. The alignment is a power of two.
    fn reserve(size: usize, alignment: usize) -> Result<Block> {
        let whole = size.checked_add(alignment).ok_or(Code::OUT_OF_MEMORY)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                whole,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Code::OUT_OF_MEMORY);
        }
        let before = start.addr().next_multiple_of(alignment) - start.addr();
        let pages = size.next_multiple_of(4096);
        // SAFETY: both parts are of the new mapping, and outside what is kept.
        unsafe {
            if before > 0 {
                libc::munmap(start, before);
            }
            if whole.next_multiple_of(4096) > before + pages {
                let rest = whole.next_multiple_of(4096) - before - pages;
                libc::munmap(start.byte_add(before + pages), rest);
            }
        }
        Ok(Block {
            address: (start.addr() + before) as u64,
            size,
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let address = std::ptr::with_exposed_provenance_mut(self.address as usize);
        // SAFETY: the addresses belong to this value, which ends; nothing is mapped there.
        unsafe { libc::munmap(address, self.size) };
    }
}

impl Space {
    /// An empty address space.
    pub const fn new() -> Space {
        Space {
            ranges: BTreeMap::new(),
            reservations: BTreeMap::new(),
        }
    }

    /// Gives memory of a device an address of its own.
    pub fn place(&mut self, memory: Memory, purpose: Purpose) -> Result<u64> {
        let block = Block::reserve(memory.size(), 4096)?;
        let address = block.address;
        self.insert(address, Arc::new(memory), purpose, Some(block));
        Ok(address)
    }

    /// Adds memory of the host, at its own address.
    pub fn add_host(&mut self, memory: Memory, purpose: Purpose) -> Result<u64> {
        let address = memory.data().as_ptr().expose_provenance() as u64;
        if self.overlaps(address, memory.size()) {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
        }
        self.insert(address, Arc::new(memory), purpose, None);
        Ok(address)
    }

    fn insert(
        &mut self,
        address: u64,
        memory: Arc<Memory>,
        purpose: Purpose,
        block: Option<Block>,
    ) {
        let range = Range {
            memory,
            purpose,
            _block: block,
        };
        self.ranges.insert(address, range);
    }

    /// Whether a range has some of these addresses.
    fn overlaps(&self, address: u64, size: usize) -> bool {
        let mut before = self.ranges.range(..address.saturating_add(size as u64));
        before
            .next_back()
            .is_some_and(|(start, range)| start + range.memory.size() as u64 > address)
    }

    /// The range that has an address, and where it starts.
    pub fn find(&self, address: u64) -> Result<(u64, &Range)> {
        let found = self.ranges.range(..=address).next_back();
        found
            .filter(|(start, range)| address - **start < range.memory.size() as u64)
            .map(|(start, range)| (*start, range))
            .ok_or(Code::INVALID_VALUE)
    }

    /// Removes a range of this purpose that starts at an address.
    pub fn remove(&mut self, address: u64, is_it: impl Fn(&Purpose) -> bool) -> Result<Range> {
        let range = self.ranges.get(&address);
        if !range.is_some_and(|range| is_it(&range.purpose)) {
            return Err(Code::INVALID_VALUE);
        }
        self.ranges.remove(&address).ok_or(Code::INVALID_VALUE)
    }

    /// Removes the allocations of a context and what it has opened.
    pub fn remove_context(&mut self, context: usize) {
        self.ranges.retain(|_, range| {
            !matches!(range.purpose, Purpose::Allocated(of) | Purpose::Opened(of, _) if of == context)
        });
    }

    /// Opens memory again that a context has opened by a handle.
    pub fn reopen(&mut self, context: usize, handle: &[u8; 64]) -> Option<u64> {
        let id = id_in(handle)?;
        let mut ranges = self.ranges.iter_mut();
        ranges.find_map(|(address, range)| {
            let is_it = range.memory.file().is_ok_and(|file| file.id() == id);
            match &mut range.purpose {
                Purpose::Opened(of, count) if is_it && *of == context => {
                    *count += 1;
                    Some(*address)
                }
                _ => None,
            }
        })
    }

    /// Closes memory that was opened by a handle.
    pub fn close(&mut self, address: u64) -> Result {
        let range = self.ranges.get_mut(&address).ok_or(Code::INVALID_VALUE)?;
        match &mut range.purpose {
            Purpose::Opened(_, count) if *count > 1 => *count -= 1,
            Purpose::Opened(..) => drop(self.ranges.remove(&address)),
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }

    /// Reserves addresses for mappings.
    pub fn reserve(&mut self, size: usize, alignment: usize) -> Result<u64> {
        let is_valid = alignment == 0 || alignment.is_power_of_two();
        if size == 0 || !size.is_multiple_of(GRANULARITY) || !is_valid {
            return Err(Code::INVALID_VALUE);
        }
        let block = Block::reserve(size, alignment.max(GRANULARITY))?;
        let address = block.address;
        self.reservations.insert(address, block);
        Ok(address)
    }

    /// Gives up reserved addresses, as a whole, and with no mapping left.
    pub fn free(&mut self, address: u64, size: usize) -> Result {
        let block = self.reservations.get(&address);
        if block.is_none_or(|block| block.size != size) || self.overlaps(address, size) {
            return Err(Code::INVALID_VALUE);
        }
        self.reservations.remove(&address);
        Ok(())
    }

    /// Maps memory as a whole at reserved addresses that have no memory yet. No device has access.
    pub fn map(&mut self, address: u64, size: usize, memory: &Arc<Memory>) -> Result {
        let reserved = self.reservations.range(..=address).next_back();
        let end = address
            .checked_add(size as u64)
            .ok_or(Code::INVALID_VALUE)?;
        let is_reserved = reserved.is_some_and(|(at, block)| end <= at + block.size as u64);
        if !is_reserved || size != memory.size() || !address.is_multiple_of(GRANULARITY as u64) {
            return Err(Code::INVALID_VALUE);
        }
        if self.overlaps(address, size) {
            return Err(Code::ALREADY_MAPPED);
        }
        let purpose = Purpose::Mapped(BTreeMap::new());
        self.insert(address, Arc::clone(memory), purpose, None);
        Ok(())
    }

    /// The starts of the mappings that are exactly these addresses.
    fn mappings(&self, address: u64, size: usize) -> Result<Vec<u64>> {
        let end = address
            .checked_add(size as u64)
            .ok_or(Code::INVALID_VALUE)?;
        let (mut at, mut starts) = (address, Vec::new());
        while at < end {
            let range = self.ranges.get(&at).ok_or(Code::INVALID_VALUE)?;
            if !matches!(range.purpose, Purpose::Mapped(_)) {
                return Err(Code::INVALID_VALUE);
            }
            starts.push(at);
            at += range.memory.size() as u64;
        }
        if at != end || starts.is_empty() {
            return Err(Code::INVALID_VALUE);
        }
        Ok(starts)
    }

    /// Unmaps whole mappings.
    pub fn unmap(&mut self, address: u64, size: usize) -> Result {
        for start in self.mappings(address, size)? {
            self.ranges.remove(&start);
        }
        Ok(())
    }

    /// Sets the access of devices to whole mappings.
    pub fn allow(&mut self, address: u64, size: usize, access: &[(i32, u32)]) -> Result {
        for start in self.mappings(address, size)? {
            let range = self.ranges.get_mut(&start).map(|range| &mut range.purpose);
            if let Some(Purpose::Mapped(allowed)) = range {
                allowed.extend(access.iter().copied());
            }
        }
        Ok(())
    }

    /// The memory behind an address that a device accesses.
    pub fn resolve(&self, device: i32, address: u64, writes: bool) -> Result<Piece> {
        let (start, range) = self.find(address).map_err(|_| Code::ILLEGAL_ADDRESS)?;
        if let Purpose::Mapped(access) = &range.purpose {
            let needed = if writes { READ_WRITE } else { READ };
            let allowed = access.get(&device).copied().unwrap_or(0);
            if allowed & needed != needed {
                return Err(Code::ILLEGAL_ADDRESS);
            }
        }
        let offset = (address - start) as usize;
        Ok(Piece {
            memory: Arc::clone(&range.memory),
            offset,
            size: range.memory.size() - offset,
        })
    }

    /// Whether an address is of memory of the host that transfers access directly.
    pub fn is_pinned(&self, address: u64) -> bool {
        let purpose = self.find(address).map(|(_, range)| &range.purpose);
        matches!(purpose, Ok(Purpose::Pinned | Purpose::Registered))
    }

    /// The number of ranges of a purpose.
    pub fn count(&self, is_it: impl Fn(&Purpose) -> bool) -> usize {
        let ranges = self.ranges.values();
        ranges.filter(|range| is_it(&range.purpose)).count()
    }

    /// The number of reservations.
    pub fn reserved(&self) -> usize {
        self.reservations.len()
    }

    /// The memory of all ranges.
    pub fn memory(&self) -> impl Iterator<Item = &Arc<Memory>> {
        self.ranges.values().map(|range| &range.memory)
    }
}
