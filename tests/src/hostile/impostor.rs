//! A producer without the core, that can be made to say and show anything.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{SealFlags, fcntl_add_seals};

use crate::area::Area;
use crate::wire::{self, Connection};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a record.
pub const META_SIZE: usize = 384;
/// Bytes beside a record, for extra bytes.
pub const EXTRA_SIZE: usize = 640;
/// The word of the metadata segment that says how many frames were published.
pub const HEAD: usize = 128 / 8;
/// The word of the metadata segment that is the first slot's state.
pub const STATES: usize = 256 / 8;

/// Where things stand in a metadata segment, as the protocol says, in bytes.
#[derive(Debug)]
pub struct Layout {
    /// Slots.
    pub slots: usize,
    /// Entries of the ring.
    pub ring: usize,
    /// Where the ring starts.
    pub ring_at: usize,
    /// Where the records start.
    pub metas_at: usize,
    /// Where the extra bytes start.
    pub extras_at: usize,
    /// Bytes of the whole.
    pub size: usize,
}

impl Layout {
    /// Of so many slots.
    pub fn new(slots: usize) -> Layout {
        let ring = (2 * slots).next_power_of_two();
        let ring_at = (256 + 8 * slots).next_multiple_of(64);
        let metas_at = (ring_at + 8 * ring).next_multiple_of(64);
        let extras_at = metas_at + META_SIZE * slots;
        Layout {
            slots,
            ring,
            ring_at,
            metas_at,
            extras_at,
            size: (extras_at + EXTRA_SIZE * slots).next_multiple_of(PAGE),
        }
    }
}

/// What stands at `offset` of a segment, so that a read from elsewhere shows.
pub fn pattern(segment: u32, offset: usize) -> u8 {
    (segment as u8)
        .wrapping_mul(89)
        .wrapping_add(offset as u8)
        .wrapping_add((offset >> 8) as u8)
}

/// A producer's side of one connection, and its memory.
#[derive(Debug)]
pub struct Impostor {
    /// Where things stand in `metadata`.
    pub layout: Layout,
    /// The metadata segment.
    pub metadata: Area,
    /// The client's lease page.
    pub page: Area,
    /// Bytes of the segments that were made, by their numbers: the most of each.
    pub segments: HashMap<u32, usize>,
    /// What goes with the welcome.
    fds: Vec<OwnedFd>,
    connection: Option<Connection>,
    generations: Vec<u64>,
    head: u64,
    /// The position that the client is told to start at.
    pub start: u64,
}

impl Impostor {
    /// Memory for so many slots, `surplus` bytes more than that, with these seals. `position` frames
    /// were published before.
    pub fn new(slots: usize, surplus: usize, seals: SealFlags, position: u64) -> Impostor {
        let layout = Layout::new(slots);
        let (metadata, metadata_fd) = Area::new(layout.size + surplus, seals);
        let mut header = b"xmem/mta".to_vec();
        for number in [wire::VERSION, slots as u32, layout.ring as u32, 640] {
            header.extend(number.to_le_bytes());
        }
        metadata.write(0, &header);
        metadata.words()[HEAD].store(position, Ordering::Relaxed);
        let (page, page_fd) = Area::new(PAGE, SealFlags::SHRINK | SealFlags::GROW);
        Impostor {
            metadata,
            page,
            segments: HashMap::new(),
            fds: vec![metadata_fd, page_fd],
            connection: None,
            generations: vec![0; slots],
            head: position,
            start: position,
            layout,
        }
    }

    /// What goes with the welcome: the metadata segment and the lease page.
    pub fn fds(&mut self) -> &mut Vec<OwnedFd> {
        &mut self.fds
    }

    /// The welcome of a client with so many leases.
    pub fn welcome(&self, leases: u32) -> Vec<u8> {
        welcome(leases, self.layout.slots as u32)
    }

    /// Takes the next client, gives its hello this answer, and lets it join where it goes on.
    pub fn answer(&mut self, listener: &OwnedFd, answer: &[u8]) {
        let client = wire::accept(listener);
        client.receive().expect("a hello");
        let fds: Vec<_> = self.fds.iter().map(AsFd::as_fd).collect();
        let _ = client.send(answer, &fds);
        if client.receive().is_some() {
            let joined = wire::message(wire::JOINED, &self.start.to_le_bytes());
            let _ = client.send(&joined, &[]);
        }
        self.connection = Some(client);
    }

    /// The position of the next frame.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The connection to the client.
    ///
    /// # Panics
    /// Where there is none.
    pub fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it was not closed")
    }

    /// Closes the connection.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Sends a message, as long as the client has not hung up.
    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        if let Some(connection) = &self.connection
            && connection.send(bytes, fds).is_err()
        {
            self.hang_up();
        }
    }

    /// Makes a segment that holds the [`pattern`].
    pub fn make_segment(&mut self, id: u32, size: usize, seals: SealFlags) -> OwnedFd {
        let (area, fd) = Area::new(size, seals);
        for (offset, byte) in area.bytes().iter().enumerate() {
            byte.store(pattern(id, offset), Ordering::Relaxed);
        }
        let most = self.segments.entry(id).or_default();
        *most = size.max(*most);
        fd
    }

    /// The same, sealed when no mapping is left that could write it, which `F_SEAL_WRITE` needs.
    pub fn make_sealed_segment(&mut self, id: u32, size: usize, seals: SealFlags) -> OwnedFd {
        let fd = self.make_segment(id, size, SealFlags::empty());
        fcntl_add_seals(&fd, seals).expect("no mapping is left");
        fd
    }

    /// Tells of a segment.
    pub fn announce(&mut self, id: u32, kind: u32, size: u64, fds: &[BorrowedFd<'_>]) {
        let mut body = id.to_le_bytes().to_vec();
        body.extend(kind.to_le_bytes());
        body.extend(size.to_le_bytes());
        self.send(&wire::message(wire::SEGMENT, &body), fds);
    }

    /// The record of the next frame, of `size` plain bytes at the start of a segment.
    pub fn record(&self, slot: usize, segment: u32, size: u64) -> [u8; META_SIZE] {
        let mut record = [0; META_SIZE];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(slot as u32).to_le_bytes());
        put(11, &[1]);
        put(16, &size.to_le_bytes());
        put(80, &1u64.to_le_bytes());
        put(144, &size.to_le_bytes());
        put(160, &self.head.to_le_bytes());
        put(336, &segment.to_le_bytes());
        record
    }

    /// Publishes a frame with this record in a slot.
    pub fn publish(&mut self, slot: usize, record: &[u8; META_SIZE]) {
        self.metadata.write(self.record_at(slot), record);
        let generation = &mut self.generations[slot];
        *generation += 2;
        let words = self.metadata.words();
        words[STATES + slot].store(*generation << 16 | 1, Ordering::Release);
        let place = self.head as usize & (self.layout.ring - 1);
        words[self.layout.ring_at / 8 + place]
            .store(*generation << 16 | slot as u64, Ordering::Release);
        self.head = self.head.wrapping_add(1);
        words[HEAD].store(self.head, Ordering::Release);
    }

    /// Where the record of a slot stands.
    pub fn record_at(&self, slot: usize) -> usize {
        self.layout.metas_at + META_SIZE * slot
    }

    /// Changes a word of the metadata segment.
    pub fn change_word(&self, at: usize, value: u64) {
        let words = self.metadata.words();
        words[at % words.len()].store(value, Ordering::Relaxed);
    }
}

/// A welcome that says what it is told to, with a clock that is the client's own.
pub fn welcome(leases: u32, slots: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [wire::VERSION, 1, leases, slots] {
        body.extend(number.to_le_bytes());
    }
    body.extend((xmem_core::monotonic_time().as_nanos() as u64).to_le_bytes());
    wire::message(wire::WELCOME, &body)
}
