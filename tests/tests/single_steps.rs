//! A client dies or is stopped at every instruction of all that it does, and a producer likewise.
//! No other process is affected, and nothing is lost.
//!
//! Forty points of each stretch are tried, or all of them with `make torture`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use xmem_core::{Canceller, Error, FrameMut, Publisher, Subscriber};
use xmem_tests::steps::Stepped;
use xmem_tests::{PATIENCE, Place, pattern, until};

const VICTIM: &str = env!("CARGO_BIN_EXE_xmem-test-victim");
/// The sizes of a frame and of its extra bytes.
const SIZE: usize = 96;
const EXTRA: usize = 16;
/// Number of slots: the survivor's lease, the victim's two, one to write and one for clients to
/// come.
const SLOTS: u32 = 5;
const VICTIMS_LEASES: usize = 2;

/// A producer, and a client that must not notice what happens to others.
struct Scene {
    place: Place,
    publisher: Publisher,
    survivor: Subscriber,
    next: u64,
}

impl Scene {
    fn new() -> Scene {
        let place = Place::new();
        let publisher = Publisher::builder(place.channel("cam0"))
            .slots(2)
            .slot_size(SIZE)
            .max_slots(SLOTS)
            .open()
            .expect("a channel");
        let survivor = Subscriber::builder(place.channel("cam0"))
            .leases(1)
            .connect()
            .expect("a connection");
        let mut scene = Scene {
            place,
            publisher,
            survivor,
            next: 0,
        };
        scene.publish();
        scene
    }

    fn victim(&self, stretch: &str) -> Stepped {
        Stepped::start(VICTIM, &self.place, &format!("client cam0 {stretch}"))
    }

    /// Publishes a frame, which the survivor receives whole.
    fn publish(&mut self) {
        let mut frame = self.publisher.acquire(SIZE).expect("a slot");
        pattern::fill(&mut frame, self.next, EXTRA).expect("a record");
        frame.publish().expect("a channel");
        let frame = self.survivor.receive(Some(PATIENCE)).expect("a frame");
        assert_eq!((frame.seq(), frame.missed()), (self.next, 0));
        pattern::check(&frame).expect("a whole frame");
        self.next += 1;
    }

    /// The number of slots that can be acquired at the same time.
    fn free_slots(&self) -> usize {
        let mut held: Vec<FrameMut> = Vec::new();
        loop {
            match self.publisher.acquire(SIZE) {
                Ok(frame) => held.push(frame),
                Err(Error::Exhausted { .. }) => return held.len(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Checks what holds while a victim is stopped: the stream continues, and the victim has at
    /// most its leases.
    fn goes_on(&mut self) {
        for _ in 0..2 * SLOTS {
            self.publish();
        }
        let free = self.free_slots();
        assert!(
            free + VICTIMS_LEASES >= self.publisher.stats().slots as usize,
            "{free} slots are left"
        );
        // The newest frame was retired for that.
        self.publish();
    }

    /// Checks what holds after a victim has ended: it has left nothing.
    fn recovers(&mut self) {
        self.publish();
        until("the victim is gone", || self.publisher.num_clients() == 1);
        assert_eq!(self.free_slots(), self.publisher.stats().slots as usize);
        self.publish();
    }
}

/// Tries the points of a client's stretch.
fn try_client(stretch: &str, strike: fn(&mut Scene, &mut Stepped)) {
    let mut scene = Scene::new();
    let measured = scene.victim(stretch).measure();
    let (mut reached, points) = (0, measured.tried());
    for &point in &points {
        let mut victim = scene.victim(stretch);
        reached += usize::from(victim.run_to(point));
        strike(&mut scene, &mut victim);
        victim.kill();
        scene.recovers();
    }
    measured.judge(stretch, points.len(), reached);
}

const CLIENTS_STRETCHES: [&str; 4] = ["receive", "release", "disconnect", "connect"];

#[test]
fn a_client_dies_at_any_instruction() {
    for stretch in CLIENTS_STRETCHES {
        try_client(stretch, |_, _| {});
    }
}

#[test]
fn a_client_is_stopped_at_any_instruction() {
    for stretch in CLIENTS_STRETCHES {
        try_client(stretch, |scene, victim| {
            victim.freeze();
            scene.goes_on();
        });
    }
}

/// A client in a thread, which reconnects until it is cancelled.
fn persist(place: &Place, canceller: &Canceller, frames: &AtomicU64) {
    loop {
        let builder = Subscriber::builder(place.channel("cam0")).canceller(canceller.clone());
        let end = match builder.connect_timeout(None).connect() {
            Ok(mut client) => receive_all(&mut client, frames),
            Err(error) => error,
        };
        match end {
            Error::Cancelled => return,
            end => assert!(end.is_retryable(), "{end}"),
        }
    }
}

/// Receives all frames, in order and whole, until the producer is gone.
fn receive_all(client: &mut Subscriber, frames: &AtomicU64) -> Error {
    let mut next = None;
    loop {
        let frame = match client.receive(None) {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        pattern::check(&frame).expect("a whole frame");
        let seq = frame.seq();
        assert!(
            next.is_none_or(|next| seq >= next),
            "frame {seq} was received twice"
        );
        next = Some(seq + 1);
        frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// Checks that a producer can start after the other has died, and that the client reconnects to it.
fn succeeds(place: &Place, frames: &AtomicU64) {
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let before = frames.load(Ordering::Relaxed);
    let mut next = 0;
    until("the client receives from the next producer", || {
        let mut frame = publisher.acquire(SIZE).expect("a slot");
        pattern::fill(&mut frame, next, EXTRA).expect("a record");
        frame.publish().expect("a channel");
        next += 1;
        frames.load(Ordering::Relaxed) > before + 2
    });
}

/// Tries the points of a producer's stretch.
fn try_producer(stretch: &str, strike: fn(&Place, &mut Stepped)) {
    let place = Place::new();
    let (canceller, frames) = (Canceller::new(), AtomicU64::new(0));
    let victim = || {
        Stepped::start(
            VICTIM,
            &place,
            &format!("producer cam0 {stretch} 1 {EXTRA}"),
        )
    };
    std::thread::scope(|scope| {
        scope.spawn(|| persist(&place, &canceller, &frames));
        let _end = Cancels(&canceller);
        let measured = victim().measure();
        let (mut reached, points) = (0, measured.tried());
        for &point in &points {
            let mut victim = victim();
            reached += usize::from(victim.run_to(point));
            strike(&place, &mut victim);
            victim.kill();
            succeeds(&place, &frames);
        }
        measured.judge(stretch, points.len(), reached);
    });
    assert_eq!(place.files(), [""; 0]);
}

/// Ends the client, even if the test fails.
struct Cancels<'a>(&'a Canceller);

impl Drop for Cancels<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

const PRODUCERS_STRETCHES: [&str; 4] = ["acquire", "publish", "close", "open"];

#[test]
fn a_producer_dies_at_any_instruction() {
    for stretch in PRODUCERS_STRETCHES {
        try_producer(stretch, |_, _| {});
    }
}

#[test]
fn a_producer_is_stopped_at_any_instruction() {
    for stretch in PRODUCERS_STRETCHES {
        try_producer(stretch, |place, victim| {
            victim.freeze();
            // A client that connects now gets an error in time if no process answers, or was
            // accepted before.
            let soon = Some(Duration::from_millis(10));
            let builder = Subscriber::builder(place.channel("cam0")).connect_timeout(soon);
            if let Err(error) = builder.connect() {
                assert!(error.is_retryable(), "{error}");
            }
        });
    }
}
