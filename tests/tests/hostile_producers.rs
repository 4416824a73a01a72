//! A client maps nothing that could be taken away from under it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use xmem_core::{Error, Result, Subscriber};
use xmem_tests::Place;
use xmem_tests::wire;

fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

const SEALED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE)
    .union(SealFlags::SEAL);

/// Connects to a producer that answers the hello with these bytes and descriptors, and then is gone.
fn connect_to(answer: &[u8], fds: &[OwnedFd]) -> Result<Subscriber> {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = wire::accept(&listener);
            assert_eq!(client.receive().expect("a hello").kind, wire::HELLO);
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            client.send(answer, &fds).unwrap();
        });
        Subscriber::builder(place.channel("cam0")).connect()
    })
}

/// A welcome for 4 leases and 64 slots.
fn welcome() -> Vec<u8> {
    let mut body = Vec::new();
    for number in [wire::VERSION, 1, 4, 64, 0, 0] {
        body.extend(number.to_le_bytes());
    }
    wire::message(wire::WELCOME, &body)
}

fn is_refused(answer: &[u8], fds: &[OwnedFd], word: &str) {
    let error = connect_to(answer, fds).expect_err("a lie");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn memory_that_could_shrink_is_not_mapped() {
    let page = || memory(4096, SEALED);
    for missing in [
        SealFlags::SHRINK,
        SealFlags::GROW,
        SealFlags::FUTURE_WRITE,
        SealFlags::SEAL,
    ] {
        let metadata = memory(1 << 20, SEALED - missing);
        is_refused(&welcome(), &[metadata, page()], "seals");
    }
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    is_refused(&welcome(), &[file.into(), page()], "not a memfd");
}

#[test]
fn memory_of_another_size_is_not_mapped() {
    for len in [0, 4096, 1 << 30] {
        is_refused(
            &welcome(),
            &[memory(len, SEALED), memory(4096, SEALED)],
            "bytes",
        );
    }
}

#[test]
fn a_welcome_without_its_descriptors_is_refused() {
    is_refused(&welcome(), &[], "descriptors");
    is_refused(&welcome(), &[memory(4096, SEALED)], "descriptors");
}

#[test]
fn garbage_in_place_of_a_welcome_is_refused() {
    is_refused(&[1, 2, 3], &[], "3 bytes");
    is_refused(&wire::message(42, b"?"), &[], "42");
    is_refused(&wire::hello(wire::VERSION, 4), &[], "welcome");
}

#[test]
fn a_client_tries_again_where_a_producer_hangs_up_in_the_handshake() {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(wire::accept(&listener));
            let client = wire::accept(&listener);
            assert_eq!(client.receive().expect("a hello").kind, wire::HELLO);
            let mut body = vec![0; 8];
            body.extend([1, 0, 0, 0, 0, 0, 0, 0]);
            body.extend(b"the second time");
            client.send(&wire::message(wire::BYE, &body), &[]).unwrap();
        });
        let error = Subscriber::builder(place.channel("cam0"))
            .connect()
            .unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("the second time"), "{error}");
        assert!(!error.is_retryable());
    });
}
