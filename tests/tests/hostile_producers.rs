//! Whatever a producer sends or stores, a client ends with an error that says what was wrong, or
//! with a frame that it can read.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
    open,
};
use rustix::pipe::{PipeFlags, pipe_with};
use xmem_core::{Error, Result, Subscriber, SubscriberBuilder, UnsealedMemory};
use xmem_tests::area::SEALED;
use xmem_tests::hostile::impostor::{HEAD, Impostor, PAGE, pattern};
use xmem_tests::random::Random;
use xmem_tests::{PATIENCE, Place, until, wire};

fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// Connects to a producer that answers the Hello with these bytes and descriptors, and then closes
/// the connection.
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

/// A Welcome for 4 leases and 64 slots.
fn welcome() -> Vec<u8> {
    let mut body = Vec::new();
    for number in [wire::VERSION, 1, 4, 64, 0, 0] {
        body.extend(number.to_le_bytes());
    }
    wire::message(wire::WELCOME, &body)
}

fn is_refused(answer: &[u8], fds: &[OwnedFd], word: &str) {
    let error = connect_to(answer, fds).expect_err("the producer violates the protocol");
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

/// Without the seal a producer could punch holes into the page, and make each access a page fault
/// that waits.
#[test]
fn a_lease_page_is_sealed_by_its_client() {
    let (mut impostor, _subscriber) = deceived();
    let seals = fcntl_get_seals(&impostor.fds()[1]).unwrap();
    assert!(seals.contains(SEALED), "{seals:?}");
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    fcntl_add_seals(&impostor.fds()[1], SealFlags::SEAL).unwrap();
    let error = connect_to(&impostor.welcome(4), impostor.fds())
        .expect_err("the producer violates the protocol");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert!(error.to_string().contains("can't be sealed"), "{error}");
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

/// An impostor with one segment of two pages, number 1, and its client.
fn deceived() -> (Impostor, Subscriber) {
    deceived_with(|builder| builder)
}

/// The same, with settings for the client.
fn deceived_with(settings: fn(SubscriberBuilder) -> SubscriberBuilder) -> (Impostor, Subscriber) {
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let answer = impostor.welcome(4);
    let subscriber = std::thread::scope(|scope| {
        scope.spawn(|| impostor.answer(&listener, &answer));
        let builder = Subscriber::builder(place.channel("cam0")).leases(4);
        settings(builder)
            .connect()
            .expect("the impostor acts like a producer")
    });
    announce(&mut impostor, 1);
    (impostor, subscriber)
}

/// Announces a segment correctly.
fn announce(impostor: &mut Impostor, id: u32) {
    let fd = impostor.make_segment(id, 2 * PAGE, SEALED);
    impostor.announce(id, 0, 2 * PAGE as u64, &[fd.as_fd()]);
}

/// The error of a client for a frame whose record has these bytes at an offset.
fn error_of_record(at: usize, bytes: &[u8]) -> Error {
    let (mut impostor, mut subscriber) = deceived();
    let mut record = impostor.record(0, 1, 4096);
    record[at..at + bytes.len()].copy_from_slice(bytes);
    impostor.publish(0, &record);
    let received = subscriber.receive(Some(PATIENCE));
    received.expect_err("the producer violates the protocol")
}

#[test]
fn a_record_with_any_field_out_of_range_is_refused() {
    const MAX: [u8; 8] = u64::MAX.to_le_bytes();
    for (at, bytes, word) in [
        (8, &[3][..], "storage type 3"),
        (10, &[13], "element type 13"),
        (10, &[255], "element type 255"),
        (11, &[9], "9 dimensions"),
        (11, &[255], "255 dimensions"),
        (16, &4097u64.to_le_bytes(), "shape"),
        (16, &MAX, "shape"),
        (80, &2u64.to_le_bytes(), "strides"),
        (80, &MAX, "strides"),
        (144, &8193u64.to_le_bytes(), "outside"),
        (144, &MAX, "outside"),
        (144, &[0; 8], "shape"),
        (160, &MAX, "due"),
        (344, &4097u64.to_le_bytes(), "outside"),
        (344, &MAX, "outside"),
        (356, &641u32.to_le_bytes(), "641 extra bytes"),
        (356, &MAX[..4], "extra bytes"),
    ] {
        let error = error_of_record(at, bytes);
        assert!(matches!(error, Error::Protocol(_)), "{at}: {error:?}");
        assert!(error.to_string().contains(word), "{at}: {error}");
    }
}

#[test]
fn extra_bytes_stored_elsewhere_must_exist() {
    for offset in [2 * PAGE as u64 - 99, u64::MAX] {
        let (mut impostor, mut subscriber) = deceived();
        let mut record = impostor.record(0, 1, 4096);
        // A flag says that the extra bytes are elsewhere; their location is stored instead of the
        // first of them.
        record[340] = 1;
        record[356] = 100;
        let at = impostor.layout.extras_at;
        impostor.metadata.write(at, &offset.to_le_bytes());
        impostor.metadata.write(at + 8, &1u32.to_le_bytes());
        impostor.publish(0, &record);
        let error = subscriber
            .receive(Some(PATIENCE))
            .expect_err("the producer violates the protocol");
        assert!(error.to_string().contains("the extra bytes"), "{error}");
    }
}

/// The segment is never announced. A client waits for it no longer than its timeout, and not at all
/// after the producer has closed the connection.
#[test]
fn a_frame_in_an_unknown_segment_is_waited_for_with_a_timeout() {
    let (mut impostor, mut subscriber) = deceived();
    let record = impostor.record(0, 7, 4096);
    impostor.publish(0, &record);
    let short = Some(Duration::from_millis(10));
    let error = subscriber.receive(short).expect_err("nothing");
    assert!(matches!(error, Error::TimedOut), "{error}");
    impostor.hang_up();
    let error = subscriber.receive(Some(PATIENCE)).expect_err("nothing");
    assert!(matches!(error, Error::Disconnected(_)), "{error}");
}

#[test]
fn a_ring_of_garbage_holds_no_frames() {
    let (impostor, mut subscriber) = deceived();
    let mut random = Random::new();
    let ring = impostor.layout.ring_at / 8;
    for round in 0..1000 {
        for entry in 0..impostor.layout.ring {
            let value = match random.number() % 3 {
                0 => random.number(),
                1 => random.number() % (1 << 20),
                _ => 0,
            };
            impostor.change_word(ring + entry, value);
        }
        impostor.change_word(HEAD, 8 * (round + 1));
        let nothing = subscriber.receive(Some(Duration::ZERO));
        assert!(matches!(nothing, Err(Error::TimedOut)), "{nothing:?}");
    }
    assert_eq!(subscriber.missed(), 8000);
}

/// Each record is checked as it was copied, and used as it was checked.
#[test]
fn a_record_that_changes_while_it_is_read_is_taken_as_it_was_or_refused() {
    let (mut impostor, mut subscriber) = deceived();
    let honest = impostor.record(0, 1, 4096);
    let fields = [
        (16, 17),
        (80, 2),
        (144, 9000),
        (344, 5000),
        (11, 77),
        (356, 700),
    ];
    let (mut whole, mut refused) = (0, 0);
    until("both outcomes were seen", || {
        let mut record = honest;
        record[160..168].copy_from_slice(&impostor.head().to_le_bytes());
        impostor.publish(0, &record);
        let at = impostor.record_at(0);
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    begun.store(true, Ordering::Relaxed);
                    for (field, value) in fields {
                        let value: u32 = value;
                        impostor.metadata.write(at + field, &value.to_le_bytes());
                        impostor
                            .metadata
                            .write(at + field, &record[field..field + 4]);
                    }
                }
            });
            until("it changes", || begun.load(Ordering::Relaxed));
            let received = subscriber.receive(Some(PATIENCE));
            over.store(true, Ordering::Relaxed);
            received
        });
        match received {
            Ok(frame) => {
                let meta = frame.meta();
                assert!(meta.payload_offset() + meta.size() <= 2 * PAGE as u64);
                let bytes = frame.payload().unwrap().to_vec();
                for (at, byte) in bytes.into_iter().enumerate() {
                    let expected = pattern(1, meta.payload_offset() as usize + at);
                    assert_eq!(byte, expected, "{at} of {meta:?}");
                }
                whole += 1;
            }
            Err(Error::Protocol(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        whole > 0 && refused > 0
    });
}

#[test]
fn a_segment_that_is_not_as_announced_ends_the_connection() {
    let said = |tell: fn(&mut Impostor)| {
        let (mut impostor, mut subscriber) = deceived();
        tell(&mut impostor);
        let error = subscriber
            .receive(Some(PATIENCE))
            .expect_err("the producer violates the protocol");
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        error.to_string()
    };
    let smaller = said(|impostor| {
        let fd = impostor.make_segment(2, PAGE, SEALED);
        impostor.announce(2, 0, 2 * PAGE as u64, &[fd.as_fd()]);
    });
    assert!(smaller.contains("bytes"), "{smaller}");
    let endless = said(|impostor| {
        let fd = impostor.make_segment(2, PAGE, SEALED);
        impostor.announce(2, 0, u64::MAX, &[fd.as_fd()]);
    });
    assert!(endless.contains("bytes"), "{endless}");
    let unsealed = said(|impostor| {
        let fd = impostor.make_segment(2, PAGE, SEALED - SealFlags::SHRINK);
        impostor.announce(2, 0, PAGE as u64, &[fd.as_fd()]);
    });
    assert!(unsealed.contains("seals"), "{unsealed}");
    let unknown = said(|impostor| {
        let fd = impostor.make_segment(2, PAGE, SEALED);
        impostor.announce(2, 77, PAGE as u64, &[fd.as_fd()]);
    });
    assert!(unknown.contains("kind 77"), "{unknown}");
    let none = said(|impostor| impostor.announce(2, 0, PAGE as u64, &[]));
    assert!(none.contains("descriptors"), "{none}");
    let two = said(|impostor| {
        let fd = impostor.make_segment(2, PAGE, SEALED);
        impostor.announce(2, 0, PAGE as u64, &[fd.as_fd(), fd.as_fd()]);
    });
    assert!(two.contains("descriptors"), "{two}");
    let again = said(|impostor| announce(impostor, 1));
    assert!(again.contains("twice"), "{again}");
}

/// Whatever the descriptor is, the error is that of the producer, and not of missing resources
/// here.
#[test]
fn a_descriptor_that_is_not_readable_memory_ends_the_connection() {
    type Make = fn(&mut Impostor) -> OwnedFd;
    fn again(fd: &OwnedFd, flags: OFlags) -> OwnedFd {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        open(path, flags | OFlags::CLOEXEC, Mode::empty())
            .expect("the file may be opened with these flags")
    }
    fn at(path: &str) -> OwnedFd {
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect(path)
    }
    let others: [(&str, Make); 6] = [
        ("a path", |impostor| {
            again(&impostor.make_segment(2, PAGE, SEALED), OFlags::PATH)
        }),
        ("write-only", |impostor| {
            again(&impostor.make_segment(2, PAGE, SEALED), OFlags::WRONLY)
        }),
        ("a directory", |_| at("/")),
        ("a device", |_| at("/dev/zero")),
        ("a file", |_| at("/proc/self/exe")),
        ("a pipe", |_| {
            pipe_with(PipeFlags::CLOEXEC).expect("a pipe").0
        }),
    ];
    for (what, make) in others {
        for kind in 0..=3 {
            let (mut impostor, mut subscriber) = deceived();
            let fd = make(&mut impostor);
            impostor.announce(2, kind, PAGE as u64, &[fd.as_fd()]);
            let error = subscriber.receive(Some(PATIENCE)).expect_err(what);
            assert!(
                matches!(error, Error::Protocol(_)),
                "{what}, {kind}: {error:?}"
            );
        }
    }
}

#[test]
fn imported_memory_is_checked_too() {
    let said = |kind: u32, seals: SealFlags, size: u64| {
        let (mut impostor, mut subscriber) = deceived();
        let fd = impostor.make_segment(2, PAGE, seals);
        impostor.announce(2, kind, size, &[fd.as_fd()]);
        let error = subscriber
            .receive(Some(PATIENCE))
            .expect_err("the producer violates the protocol");
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        error.to_string()
    };
    let page = PAGE as u64;
    let sizes = SealFlags::SHRINK | SealFlags::GROW;
    // The memory of another producer cannot be written by others.
    let unsealed = said(1, sizes, page);
    assert!(unsealed.contains("seals"), "{unsealed}");
    for seals in [SealFlags::GROW, SealFlags::SHRINK, SealFlags::empty()] {
        let unsealed = said(2, seals, page);
        assert!(unsealed.contains("seals"), "{unsealed}");
    }
    for size in [0, page - 1, 2 * page, u64::MAX] {
        let other = said(2, sizes, size);
        assert!(other.contains("bytes"), "{other}");
    }
    let disguised = said(3, SEALED, page);
    assert!(disguised.contains("not a dmabuf"), "{disguised}");
}

#[test]
fn an_imported_memfd_is_mapped_if_it_has_the_required_seals() {
    let (mut impostor, mut subscriber) = deceived();
    let fd = impostor.make_segment(2, PAGE, SealFlags::SHRINK | SealFlags::GROW);
    impostor.announce(2, 2, PAGE as u64, &[fd.as_fd()]);
    let record = impostor.record(0, 2, PAGE as u64);
    impostor.publish(0, &record);
    let frame = subscriber.receive(Some(PATIENCE)).expect("a frame");
    assert_eq!(frame.payload().unwrap().to_vec()[4095], pattern(2, 4095));
}

#[test]
fn memory_that_others_may_write_is_not_mapped_by_a_client_that_refuses_it() {
    let sizes = SealFlags::SHRINK | SealFlags::GROW;
    for kind in [2, 3] {
        let careful = |builder: SubscriberBuilder| builder.unsealed_memory(UnsealedMemory::Never);
        let (mut impostor, mut subscriber) = deceived_with(careful);
        let fd = impostor.make_segment(2, PAGE, sizes);
        impostor.announce(2, kind, PAGE as u64, &[fd.as_fd()]);
        let error = subscriber
            .receive(Some(PATIENCE))
            .expect_err("the producer violates the protocol");
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        assert!(error.to_string().contains("does not take"), "{error}");
    }
    // Memory that no process can write any more is as good as the producer's own, whichever seal
    // ensures it.
    for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
        let careful = |builder: SubscriberBuilder| builder.unsealed_memory(UnsealedMemory::Never);
        let (mut impostor, mut subscriber) = deceived_with(careful);
        let fd = impostor.make_sealed_segment(2, PAGE, sizes | seal);
        impostor.announce(2, 1, PAGE as u64, &[fd.as_fd()]);
        let record = impostor.record(0, 2, PAGE as u64);
        impostor.publish(0, &record);
        let frame = subscriber.receive(Some(PATIENCE)).expect("a frame");
        assert_eq!(frame.payload().unwrap().to_vec()[4095], pattern(2, 4095));
    }
}

/// A segment that a client has mapped keeps its content, even if the file is truncated.
#[test]
fn a_segment_can_not_be_truncated_under_a_client() {
    let (mut impostor, mut subscriber) = deceived();
    let fd = impostor.make_segment(2, PAGE, SEALED);
    impostor.announce(2, 0, PAGE as u64, &[fd.as_fd()]);
    let record = impostor.record(0, 2, PAGE as u64);
    impostor.publish(0, &record);
    let frame = subscriber.receive(Some(PATIENCE)).expect("a frame");
    assert!(ftruncate(&fd, 0).is_err());
    drop(fd);
    assert_eq!(frame.payload().unwrap().to_vec()[4095], pattern(2, 4095));
}

#[test]
fn segments_without_end_end_the_connection() {
    let (mut impostor, mut subscriber) = deceived();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let fd = impostor.make_segment(2, PAGE, SEALED);
            for id in 2..10_000 {
                impostor.announce(id, 0, PAGE as u64, &[fd.as_fd()]);
            }
        });
        let error = subscriber
            .receive(Some(PATIENCE))
            .expect_err("the producer violates the protocol");
        assert!(error.to_string().contains("more segments"), "{error}");
        // The remaining segments are not even sent.
        drop(subscriber);
    });
}
