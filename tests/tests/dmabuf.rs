//! Frames in dmabufs, if the machine can make some: `/dev/udmabuf` makes one of a memfd.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use xmem_core::{ImportedMemory, Publisher, Subscriber};
use xmem_tests::Place;

const SIZE: usize = 16 * 4096;

/// `struct udmabuf_create` of the kernel.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `_IOW('u', 0x42, struct udmabuf_create)`.
const UDMABUF_CREATE: libc::c_ulong = 0x4018_7542;
const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// A dmabuf with these bytes; `None` if the machine cannot make one.
fn dma_buf(bytes: &[u8]) -> Option<OwnedFd> {
    let mut options = OpenOptions::new();
    let maker = options.read(true).write(true).open("/dev/udmabuf").ok()?;
    let memory = memfd_create("test-udmabuf", MemfdFlags::ALLOW_SEALING).expect("a memfd");
    ftruncate(&memory, SIZE as u64).expect("the size can be set");
    rustix::io::pwrite(&memory, bytes, 0).expect("the memory can be written");
    fcntl_add_seals(&memory, SealFlags::SHRINK).expect("the memory can be sealed");
    let create = Create {
        memfd: memory.as_raw_fd() as u32,
        flags: UDMABUF_FLAGS_CLOEXEC,
        offset: 0,
        size: SIZE as u64,
    };
    // SAFETY: the request takes a pointer to this structure, which it only reads, and both
    // descriptors are open. It returns a new descriptor that no other value owns, or -1.
    unsafe {
        let fd = libc::ioctl(maker.as_raw_fd(), UDMABUF_CREATE, &raw const create);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

#[test]
fn a_dmabuf_is_imported_and_mapped_when_its_bytes_are_read() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at * 31 % 251) as u8).collect();
    let Some(dma_buf) = dma_buf(&bytes) else {
        eprintln!("not tried: /dev/udmabuf does not exist");
        return;
    };
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let connecting = Subscriber::builder(place.channel("cam0")).connect();
    let mut subscriber = connecting.unwrap();
    let memory = ImportedMemory::new(dma_buf.as_fd()).unwrap();
    assert!(memory.is_dma_buf());
    assert_eq!(memory.size(), SIZE);
    for start in [0, 5000] {
        let frame = publisher.import_frame(&memory, start..SIZE, ()).unwrap();
        frame.publish().unwrap();
        let frame = subscriber.receive(Some(Duration::from_secs(10))).unwrap();
        assert!(frame.is_dma_buf());
        assert_eq!(frame.meta().size() as usize, SIZE - start);
        frame.map().unwrap();
        assert_eq!(frame.payload().unwrap().to_vec(), bytes[start..]);
    }
    // It needs no memory of the publisher.
    assert_eq!(publisher.stats().bytes, 0);
}
