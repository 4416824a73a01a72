//! Imported frames, in memory that the publisher did not make: when the memory is released to its
//! owner.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use xmem_core::{
    Error, Frame, ImportedMemory, Publisher, PublisherEvent, Subscriber, UnsealedMemory,
};
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Events, PATIENCE, Place, until};

const SIZE: usize = 4096;
/// The timeout of a wait that ends for another reason.
const LONG: Duration = PATIENCE;
const SHORT: Duration = Duration::from_millis(20);
const ROUNDS: usize = 5_000;

/// A publisher, a client, and memory to import.
struct Channel {
    publisher: Publisher,
    client: Subscriber,
    memory: ImportedMemory,
    /// Its clones are what keeps the frames' bytes.
    hold: Arc<()>,
}

/// Memory that is not the publisher's.
fn memory() -> ImportedMemory {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, SIZE as u64).unwrap();
    ImportedMemory::new(fd.as_fd()).unwrap()
}

impl Channel {
    fn open(place: &Place) -> Channel {
        let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
        let client = Subscriber::builder(place.channel("cam0")).connect();
        Channel {
            publisher,
            client: client.unwrap(),
            memory: memory(),
            hold: Arc::default(),
        }
    }

    fn pass_on(&self, count: usize) {
        for _ in 0..count {
            let hold = self.hold.clone();
            let frame = self.publisher.import_frame(&self.memory, 0..SIZE, hold);
            frame.unwrap().publish().unwrap();
        }
    }

    fn receive(&mut self) -> Frame {
        self.client.receive(Some(LONG)).unwrap()
    }

    /// The number of frames whose memory is not released.
    fn kept(&self) -> usize {
        Arc::strong_count(&self.hold) - 1
    }
}

#[test]
fn a_drain_waits_until_clients_have_received_and_released_all_frames() {
    let place = Place::new();
    let mut channel = Channel::open(&place);
    assert!(!channel.publisher.owes_memory());
    channel.pass_on(3);
    assert!(channel.publisher.owes_memory());
    std::thread::scope(|scope| {
        let (publisher, hold) = (&channel.publisher, &channel.hold);
        let draining = scope.spawn(|| publisher.drain(LONG));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(channel.client.receive(Some(LONG)).unwrap());
        }
        let seqs: Vec<u64> = held.iter().map(|frame| frame.meta().seq()).collect();
        assert_eq!(seqs, [0, 1, 2]);
        assert!(!draining.is_finished());
        for left in (0..3).rev() {
            held.pop();
            until("the memory is released", || {
                Arc::strong_count(hold) - 1 == left
            });
        }
        draining.join().unwrap().unwrap();
    });
    assert!(!channel.publisher.owes_memory());
}

#[test]
fn frames_held_when_a_drain_ends_are_released_later() {
    let place = Place::new();
    let mut channel = Channel::open(&place);
    channel.pass_on(2);
    let held = channel.receive();
    drop(channel.receive());
    let drained = channel.publisher.drain(SHORT);
    assert!(matches!(drained, Err(Error::TimedOut)), "{drained:?}");
    assert_eq!(channel.kept(), 1);
    assert!(channel.publisher.owes_memory());
    drop(held);
    let drained = channel.publisher.drain(LONG);
    drained.unwrap();
    assert_eq!(channel.kept(), 0);
}

#[test]
fn frames_not_received_when_a_drain_ends_are_missed() {
    let place = Place::new();
    let mut channel = Channel::open(&place);
    channel.pass_on(3);
    let drained = channel.publisher.drain(SHORT);
    assert!(matches!(drained, Err(Error::TimedOut)), "{drained:?}");
    assert_eq!(channel.kept(), 0);
    channel.pass_on(1);
    let frame = channel.receive();
    assert_eq!((frame.meta().seq(), frame.missed()), (3, 3));
}

#[test]
fn a_client_that_leaves_is_waited_for_no_longer() {
    let place = Place::new();
    let Channel {
        publisher,
        mut client,
        memory,
        hold,
    } = Channel::open(&place);
    for _ in 0..2 {
        let frame = publisher.import_frame(&memory, 0..SIZE, hold.clone());
        frame.unwrap().publish().unwrap();
    }
    let held = client.receive(Some(LONG)).unwrap();
    std::thread::scope(|scope| {
        let publisher = &publisher;
        let draining = scope.spawn(move || publisher.drain(LONG));
        drop((held, client));
        draining.join().unwrap().unwrap();
    });
    assert_eq!(Arc::strong_count(&hold), 1);
}

/// Segments that were removed before the client was told of them are forgotten.
#[test]
fn short_lived_memory_does_not_get_a_client_evicted_that_does_not_read() {
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = Publisher::builder(place.channel("cam0")).on_event(observer);
    let publisher = publisher.open().unwrap();
    let client = Subscriber::builder(place.channel("cam0")).connect();
    let (mut client, hold) = (client.unwrap(), Arc::new(()));
    let silent = Connection::open(&place.socket("cam0"));
    let welcome = silent.greet(wire::VERSION, 1);
    silent.join(&welcome.fds[1]);
    publisher
        .wait_for_clients(2, Some(PATIENCE))
        .expect("both ends exist");
    for number in 0..2000 {
        let few = || Arc::strong_count(&hold) < 20;
        assert!(publisher.reclaim(few), "frame {number}");
        let frame = publisher.import_frame(&memory(), 0..SIZE, hold.clone());
        frame.unwrap().publish().unwrap();
        let frame = client.receive(Some(LONG)).unwrap();
        assert_eq!(frame.meta().seq(), number);
    }
    let refused = |event: &PublisherEvent| matches!(event, PublisherEvent::ClientRefused { .. });
    assert!(!events.drain().iter().any(refused));
    // The client was told of the segments in order, and of no more than it could read.
    let mut last = 0;
    drop(client);
    publisher.close();
    while let Some(message) = silent.receive() {
        if message.kind == wire::SEGMENT {
            let id = u32::from_le_bytes(message.body[..4].try_into().unwrap());
            assert!(id > last, "segment {id} after {last}");
            last = id;
        }
    }
    assert!(last > 0);
}

/// A drain takes back a published frame before its publishing thread has dropped its handle, and
/// the next frame may have the same slot number.
#[test]
fn a_drain_does_not_release_the_memory_of_the_next_frame() {
    let place = Place::new();
    let Channel {
        publisher,
        mut client,
        memory,
        ..
    } = Channel::open(&place);
    let is_over = AtomicBool::new(false);
    let go_on = || !is_over.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while go_on() {
                // Unless there are more than were drained so far.
                if let Ok(frame) = publisher.import_frame(&memory, 0..SIZE, ()) {
                    frame.publish().unwrap();
                }
            }
        });
        scope.spawn(|| {
            while go_on() {
                let _ = publisher.drain(Duration::ZERO);
            }
        });
        // Waking this thread is the step between the two.
        scope.spawn(|| {
            while go_on() {
                let _ = client.receive(Some(SHORT));
            }
        });
        let mut rounds = 0;
        while rounds < ROUNDS {
            let hold = Arc::new(());
            let Ok(frame) = publisher.import_frame(&memory, 0..SIZE, hold.clone()) else {
                continue;
            };
            rounds += 1;
            std::thread::yield_now();
            if Arc::strong_count(&hold) != 2 {
                is_over.store(true, Ordering::Relaxed);
                panic!("the bytes of a frame that is being written were released");
            }
            drop(frame);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Memory that only its maker's old mappings can write.
fn sealed_memory() -> ImportedMemory {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, SIZE as u64).unwrap();
    fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE).unwrap();
    ImportedMemory::new(fd.as_fd()).unwrap()
}

/// A client that accepts no memory that others may write or punch holes into.
fn careful(place: &Place) -> Subscriber {
    let client = Subscriber::builder(place.channel("cam0"));
    let client = client.unsealed_memory(UnsealedMemory::Never).connect();
    client.unwrap()
}

#[test]
fn memory_that_others_may_write_is_for_clients_that_accept_it() {
    let place = Place::new();
    let mut channel = Channel::open(&place);
    let publish = |memory: &ImportedMemory| {
        let frame = channel.publisher.import_frame(memory, 0..SIZE, ())?;
        frame.publish().map(drop)
    };
    publish(&channel.memory).unwrap();
    assert_eq!(channel.client.receive(Some(LONG)).unwrap().seq(), 0);
    let early = channel.publisher.import_frame(&channel.memory, 0..SIZE, ());

    // It does not receive the newest frame either.
    let mut careful = careful(&place);
    assert!(!channel.publisher.stats().clients[1].takes_unsealed);
    let refused = publish(&channel.memory).unwrap_err();
    let is_refused = |error: &Error| matches!(error, Error::UnsealedMemory { clients: 1 });
    assert!(is_refused(&refused), "{refused}");
    let refused = early.unwrap().publish().unwrap_err();
    assert!(is_refused(&refused), "{refused}");
    publish(&sealed_memory()).unwrap();
    for client in [&mut channel.client, &mut careful] {
        let frame = client.receive(Some(LONG)).unwrap();
        assert_eq!((frame.seq(), frame.missed()), (1, 0));
    }

    drop(careful);
    until("the client is gone", || {
        channel.publisher.num_clients() == 1
    });
    publish(&channel.memory).unwrap();
    assert_eq!(channel.client.receive(Some(LONG)).unwrap().seq(), 2);
}
