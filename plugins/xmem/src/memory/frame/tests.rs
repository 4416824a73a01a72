#![allow(unsafe_code)]

use std::time::Duration;

use glib::translate::*;
use gst_allocators::prelude::*;
use gst_allocators::{FdMemory, FdMemoryRef};
use tempfile::TempDir;
use xmem_core::{Channel, Frame, Publisher, Subscriber};

use super::*;

const SIZE: usize = 3000;

/// A channel within this process, whose client has received one frame.
struct Received {
    _directory: TempDir,
    publisher: Publisher,
    _subscriber: Subscriber,
}

fn byte(at: usize) -> u8 {
    (at * 7 % 251) as u8
}

fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(byte).collect()
}

impl Received {
    fn new() -> (Received, Frame) {
        gst::init().unwrap();
        let directory = TempDir::new().unwrap();
        let channel = Channel::path(directory.path().join("cam0.sock"));
        let publisher = Publisher::builder(channel.clone()).open().unwrap();
        let connecting = Subscriber::builder(channel).connect();
        let mut subscriber = connecting.unwrap();
        // A slot in the middle of its segment.
        let first = publisher.acquire(SIZE).unwrap();
        let mut frame = publisher.acquire(SIZE).unwrap();
        frame.payload().unwrap().write(0, &bytes(0..SIZE));
        frame.publish().unwrap();
        drop(first);
        let frame = subscriber.receive(Some(Duration::from_secs(10))).unwrap();
        let received = Received {
            _directory: directory,
            publisher,
            _subscriber: subscriber,
        };
        (received, frame)
    }

    fn is_leased(&self) -> bool {
        self.publisher.stats().clients[0].held == 1
    }
}

fn fd_memory(memory: &gst::Memory) -> &FdMemoryRef {
    memory
        .downcast_memory_ref::<FdMemory>()
        .expect("it has a descriptor")
}

#[test]
fn a_frames_memory_has_the_descriptor_and_place_of_its_bytes() {
    let (received, frame) = Received::new();
    let offset = frame.offset();
    assert_ne!(offset, 0);
    let memory = wrap(frame).unwrap();
    assert_eq!((memory.offset(), memory.size()), (offset, SIZE));
    assert_eq!(&memory.map_readable().unwrap()[..], bytes(0..SIZE));
    assert!(memory.is_type("fd"));
    // Reading the file itself finds the bytes, too.
    let fd = fd_memory(&memory).fd();
    let mut found = vec![0; SIZE];
    let file = std::fs::File::open(format!("/proc/self/fd/{fd}")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, offset as u64).unwrap();
    assert_eq!(found, bytes(0..SIZE));
    assert!(received.is_leased());
    drop(memory);
    assert!(!received.is_leased());
}

#[test]
fn a_frames_memory_cannot_be_written() {
    let (_received, frame) = Received::new();
    let memory = wrap(frame).unwrap();
    let memory = memory.into_mapped_memory_writable().unwrap_err();
    // Nor by the allocator's own function.
    let allocator = memory.allocator().unwrap().as_ptr();
    // SAFETY: the memory and its allocator are alive, and it is the allocator's.
    let address = unsafe {
        let map = (*allocator).mem_map.unwrap();
        map(memory.as_mut_ptr(), SIZE, gst::ffi::GST_MAP_READWRITE)
    };
    assert!(address.is_null());
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory.clone());
    buffer.make_mut().map_writable().unwrap().fill(0);
    assert_eq!(&memory.map_readable().unwrap()[..], bytes(0..SIZE));
}

/// An object that shares the bytes of a frame's buffer.
enum Sharing {
    Memory(gst::Memory),
    Buffer(gst::Buffer),
    Mapped(gst::MappedMemory<gst::memory::Readable>),
}

impl Sharing {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Sharing::Memory(memory) => memory.map_readable().unwrap().to_vec(),
            Sharing::Buffer(buffer) => buffer.map_readable().unwrap().to_vec(),
            Sharing::Mapped(map) => map.to_vec(),
        }
    }
}

/// Shares "all that follows", as C code does.
fn share_the_rest(memory: &gst::MemoryRef, offset: usize) -> gst::Memory {
    // SAFETY: the memory is alive, and the offset is inside of it.
    unsafe {
        let shared = gst::ffi::gst_memory_share(memory.as_mut_ptr(), offset as isize, -1);
        from_glib_full(shared)
    }
}

fn region(buffer: &gst::Buffer, range: std::ops::Range<usize>) -> gst::Buffer {
    let region = buffer.copy_region(gst::BufferCopyFlags::MEMORY, range);
    region.unwrap()
}

#[test]
fn whatever_shares_a_frames_bytes_keeps_it_leased() {
    type Make = fn(&gst::Buffer) -> (Sharing, std::ops::Range<usize>);
    let ways: [(&str, Make); 8] = [
        ("a shallow copy", |buffer| {
            (Sharing::Buffer(buffer.copy()), 0..SIZE)
        }),
        ("a region", |buffer| {
            (Sharing::Buffer(region(buffer, 100..2000)), 100..2000)
        }),
        ("a region of a region", |buffer| {
            let part = region(&region(buffer, 100..2000), 50..60);
            (Sharing::Buffer(part), 150..160)
        }),
        ("regions behind each other, merged", |buffer| {
            let mut both = region(buffer, 100..200);
            let next = region(buffer, 200..450);
            both.append(next);
            assert_eq!(both.n_memory(), 2);
            let merged = both.all_memory().unwrap();
            assert_eq!(
                fd_memory(&merged).fd(),
                fd_memory(&buffer.memory(0).unwrap()).fd()
            );
            (Sharing::Memory(merged), 100..450)
        }),
        ("shared memory", |buffer| {
            let shared = buffer.peek_memory(0).share(10..20);
            (Sharing::Memory(shared), 10..20)
        }),
        ("all that follows", |buffer| {
            let shared = share_the_rest(buffer.peek_memory(0), 2900);
            (Sharing::Memory(shared), 2900..SIZE)
        }),
        ("all that follows, shared again", |buffer| {
            let shared = share_the_rest(&share_the_rest(buffer.peek_memory(0), 1000), 1900);
            (Sharing::Memory(shared), 2900..SIZE)
        }),
        ("mapped memory", |buffer| {
            let memory = buffer.memory(0).unwrap();
            let map = memory.into_mapped_memory_readable().unwrap();
            (Sharing::Mapped(map), 0..SIZE)
        }),
    ];
    for (what, make) in ways {
        let (received, frame) = Received::new();
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().append_memory(wrap(frame).unwrap());
        let (sharing, range) = make(&buffer);
        drop(buffer);
        assert!(received.is_leased(), "{what}");
        assert_eq!(sharing.bytes(), bytes(range), "{what}");
        if let Sharing::Memory(memory) = &sharing {
            assert!(memory.is_memory_type::<FdMemory>(), "{what}");
        }
        drop(sharing);
        assert!(!received.is_leased(), "{what}");
    }
}

#[test]
fn a_copy_of_a_frames_bytes_holds_no_lease() {
    let (received, frame) = Received::new();
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(wrap(frame).unwrap());
    let copies = [buffer.copy_deep().unwrap(), {
        let mut copy = buffer.copy();
        copy.make_mut().map_writable().unwrap();
        copy
    }];
    let memory = buffer.peek_memory(0).copy();
    drop(buffer);
    assert!(!received.is_leased());
    for copy in copies {
        assert_eq!(&copy.map_readable().unwrap()[..], bytes(0..SIZE));
    }
    assert_eq!(&memory.map_readable().unwrap()[..], bytes(0..SIZE));
}
