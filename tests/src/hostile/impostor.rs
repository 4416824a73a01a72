//! A producer without the core, which can send and store any values.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{SealFlags, fcntl_add_seals};

use crate::area::Area;
use crate::wire::{self, Connection};

/// The size of a page in bytes.
pub const PAGE: usize = 4096;
/// The size of a record in bytes.
pub const META_SIZE: usize = 384;
/// The number of extra bytes that are stored beside a record.
pub const EXTRA_SIZE: usize = 640;
/// The index of the word of the metadata segment with the number of published frames.
pub const HEAD: usize = 128 / 8;
/// The index of the state word of the first slot in the metadata segment.
pub const STATES: usize = 256 / 8;

/// The layout of a metadata segment, as docs/protocol.md specifies it; offsets in bytes.
#[derive(Debug)]
pub struct Layout {
    /// Number of slots.
    pub slots: usize,
    /// Number of entries of the ring.
    pub ring: usize,
    /// Offset of the ring.
    pub ring_at: usize,
    /// Offset of the records.
    pub metas_at: usize,
    /// Offset of the extra bytes.
    pub extras_at: usize,
    /// Size of the segment.
    pub size: usize,
}

impl Layout {
    /// The layout for `slots` slots.
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

/// The byte at `offset` of a segment. It differs between segments and offsets, so that a read from
/// the wrong place shows.
pub fn pattern(segment: u32, offset: usize) -> u8 {
    (segment as u8)
        .wrapping_mul(89)
        .wrapping_add(offset as u8)
        .wrapping_add((offset >> 8) as u8)
}

/// The producer's end of one connection, and its memory.
#[derive(Debug)]
pub struct Impostor {
    /// The layout of `metadata`.
    pub layout: Layout,
    /// The metadata segment.
    pub metadata: Area,
    /// The lease page of the client.
    pub page: Area,
    /// The sizes in bytes of the segments that were made, by their numbers; the largest for each
    /// number.
    pub segments: HashMap<u32, usize>,
    /// The descriptors of the Welcome.
    fds: Vec<OwnedFd>,
    connection: Option<Connection>,
    generations: Vec<u64>,
    head: u64,
    /// The position at which the client is told to start.
    pub start: u64,
}

impl Impostor {
    /// Creates memory for `slots` slots and `surplus` more bytes, with these seals. `position`
    /// frames were published before.
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

    /// The descriptors of the Welcome: the metadata segment and the lease page.
    pub fn fds(&mut self) -> &mut Vec<OwnedFd> {
        &mut self.fds
    }

    /// The Welcome for a client with this many leases.
    pub fn welcome(&self, leases: u32) -> Vec<u8> {
        welcome(leases, self.layout.slots as u32)
    }

    /// Accepts the next client, sends this answer to its Hello, and lets it join if it continues.
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
    /// If there is none.
    pub fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("the connection is open")
    }

    /// Closes the connection.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Sends a message if the connection is open.
    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        if let Some(connection) = &self.connection
            && connection.send(bytes, fds).is_err()
        {
            self.hang_up();
        }
    }

    /// Creates a segment that holds the [`pattern`].
    pub fn make_segment(&mut self, id: u32, size: usize, seals: SealFlags) -> OwnedFd {
        let (area, fd) = Area::new(size, seals);
        for (offset, byte) in area.bytes().iter().enumerate() {
            byte.store(pattern(id, offset), Ordering::Relaxed);
        }
        let most = self.segments.entry(id).or_default();
        *most = size.max(*most);
        fd
    }

    /// As [`make_segment`](Impostor::make_segment), but adds the seals after the writable mapping
    /// is gone, as `F_SEAL_WRITE` needs.
    pub fn make_sealed_segment(&mut self, id: u32, size: usize, seals: SealFlags) -> OwnedFd {
        let fd = self.make_segment(id, size, SealFlags::empty());
        fcntl_add_seals(&fd, seals).expect("no mapping is left");
        fd
    }

    /// Announces a segment.
    pub fn announce(&mut self, id: u32, kind: u32, size: u64, fds: &[BorrowedFd<'_>]) {
        let mut body = id.to_le_bytes().to_vec();
        body.extend(kind.to_le_bytes());
        body.extend(size.to_le_bytes());
        self.send(&wire::message(wire::SEGMENT, &body), fds);
    }

    /// The record of the next frame: `size` plain bytes at the start of a segment.
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

    /// The offset of the record of a slot.
    pub fn record_at(&self, slot: usize) -> usize {
        self.layout.metas_at + META_SIZE * slot
    }

    /// Changes a word of the metadata segment.
    pub fn change_word(&self, at: usize, value: u64) {
        let words = self.metadata.words();
        words[at % words.len()].store(value, Ordering::Relaxed);
    }
}

/// A Welcome with these numbers, with a clock that the client has too.
pub fn welcome(leases: u32, slots: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [wire::VERSION, 1, leases, slots] {
        body.extend(number.to_le_bytes());
    }
    body.extend((xmem_core::monotonic_time().as_nanos() as u64).to_le_bytes());
    wire::message(wire::WELCOME, &body)
}
