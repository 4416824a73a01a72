//! Runs a producer against hostile clients. They attack on the socket, with messages cut anywhere,
//! and in all words of their lease pages, which change while the producer acquires and publishes.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::fcntl_add_seals;
use rustix::io::Errno;
use xmem_core::{
    Channel, Error, Frame, FrameMut, Overflow, PublishedSlot, Publisher, PublisherEvent, Subscriber,
};

use super::input::Input;
use super::socket_path;
use crate::area::{Area, SEALED};
use crate::wait::PATIENCE;
use crate::wire::{self, Connection};

/// The maximum number of slots, and of clients.
const SLOTS: u32 = 16;
const CLIENTS: u32 = 4;
/// Number of slot numbers: four times as many as slots, while small slots are replaced by large
/// ones.
const NUMBERS: usize = 4 * SLOTS as usize;
const LEASES_OF_HONEST: u32 = 2;
const PAGE: usize = 4096;
/// The index of the first state word in the metadata segment.
const STATES: usize = 256 / 8;
/// The index of the first lease in a lease page.
const LEASES: usize = 128 / 8;

/// Runs a producer with hostile clients that act as the bytes say, and in most cases one honest
/// client. Checks that the producer continues to publish, hands out no slot twice, overwrites no
/// frame that the honest client holds, has no more slots than allowed, and has all of them back
/// when the clients have left.
///
/// The first byte selects settings; the others are actions of producer and clients, in turn.
pub fn clients(bytes: &[u8]) {
    let started = Instant::now();
    let mut input = Input(bytes);
    let mut scene = Scene::open(input.byte());
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        scene.act(&mut input);
        scene.check();
    }
    scene.end();
    assert!(started.elapsed() < PATIENCE, "it hung");
}

/// A hostile client.
struct Liar {
    connection: Connection,
    /// Its lease page, the metadata segment, and the number of leases it was granted.
    areas: Option<(Area, Area, u32)>,
}

struct Scene {
    publisher: Publisher,
    path: std::path::PathBuf,
    events: Receiver<PublisherEvent>,
    liars: Vec<Liar>,
    /// Number of leases of all clients that have joined. It is not reduced when a client leaves,
    /// because no event says when the producer notices that.
    leases: u32,
    connected: usize,
    held: Vec<FrameMut>,
    published: Vec<PublishedSlot>,
    count: u64,
    extra: usize,
    honest: Option<Subscriber>,
    frames: VecDeque<Frame>,
}

impl Scene {
    fn open(settings: u8) -> Scene {
        let path = socket_path();
        let (sender, events) = channel();
        let publisher = Publisher::builder(Channel::path(&path))
            .slots(2)
            .slot_size(64)
            .max_slots(SLOTS)
            .max_clients(CLIENTS)
            .overflow(match settings & 1 {
                0 => Overflow::DropOldest,
                _ => Overflow::Block {
                    timeout: Duration::from_micros(200),
                },
            })
            .on_event(move |event| drop(sender.send(event)))
            .open()
            .expect("no other producer has the path");
        let honest = (settings & 2 == 0).then(|| {
            Subscriber::builder(Channel::path(&path))
                .leases(LEASES_OF_HONEST)
                .connect()
                .expect("the client is the first")
        });
        Scene {
            leases: honest.as_ref().map_or(0, |_| LEASES_OF_HONEST),
            connected: usize::from(honest.is_some()),
            publisher,
            path,
            events,
            liars: Vec::new(),
            held: Vec::new(),
            published: Vec::new(),
            count: 0,
            extra: 0,
            honest,
            frames: VecDeque::new(),
        }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 19 {
            0 => {
                let mut hello = wire::hello(wire::VERSION, 1 + input.byte() as u32 % 8);
                // The delivery, whether it takes memory of devices, and the name.
                let settings = input.byte();
                hello[24] = settings & 1;
                hello[28] |= settings >> 1 & 2;
                hello[40..44].fill(input.byte());
                self.connect(&hello, 0);
            }
            1 => {
                let mut hello = wire::hello(wire::VERSION, 4);
                let at = input.below(hello.len());
                hello[at] = input.byte();
                hello.truncate(1 + input.byte() as usize);
                self.connect(&hello, input.below(8).saturating_sub(3));
            }
            2 => {
                let length = input.below(80);
                let bytes = input.bytes(length);
                self.connect(bytes, input.below(4));
            }
            3 => {
                let length = input.below(80);
                let bytes = input.bytes(length);
                let (_, fd) = Area::new(PAGE, SEALED);
                let fds = vec![fd.as_fd(); input.below(4)];
                if let Some(liar) = pick(&self.liars, input) {
                    // The producer may have closed the connection.
                    let _ = liar.connection.send(bytes, &fds);
                }
            }
            4 if !self.liars.is_empty() => {
                drop(self.liars.swap_remove(input.below(self.liars.len())));
            }
            5 | 6 => {
                if let Some((page, ..)) = self.areas(input) {
                    let at = input.below(PAGE / 8 / 2);
                    page.words()[at].store(input.number(), Ordering::Relaxed);
                }
            }
            7 | 8 => {
                // A lease on a frame that a slot holds or held, without checking that it still
                // does.
                if let Some((page, metadata, leases)) = self.areas(input) {
                    let slot = input.below(NUMBERS);
                    let state = metadata.words()[STATES + slot].load(Ordering::Relaxed);
                    let generation = (state >> 16).wrapping_sub(u64::from(input.byte() & 3));
                    let lease = input.below(*leases as usize);
                    page.words()[LEASES + lease]
                        .store(generation << 16 | slot as u64, Ordering::SeqCst);
                }
            }
            9 => {
                if let Some((page, ..)) = self.areas(input) {
                    page.words()[0].store(u64::from(input.byte()), Ordering::Relaxed);
                    page.words()[1].store(input.number(), Ordering::Relaxed);
                    page.halves()[6].fetch_add(1, Ordering::Relaxed);
                    page.halves()[16].fetch_add(1, Ordering::Relaxed);
                }
            }
            10 | 11 => {
                if let Some(frame) = self.acquire() {
                    self.publish(frame);
                }
            }
            12 => {
                let frame = self.acquire();
                self.held.extend(frame);
            }
            13 if !self.held.is_empty() => {
                let frame = self.held.swap_remove(input.below(self.held.len()));
                let published = self.publish(frame);
                self.published.push(published);
            }
            14 if !self.held.is_empty() => {
                drop(self.held.swap_remove(input.below(self.held.len())));
            }
            15 if !self.published.is_empty() => {
                let at = input.below(self.published.len());
                drop(self.published.swap_remove(at));
            }
            16 => self.receive(),
            17 => {
                if let Some(frame) = self.frames.pop_front() {
                    look(&frame);
                }
            }
            18 => match input.byte() % 4 {
                0 => self.publisher.end_stream(),
                1 => {
                    let text = "caps ".repeat(input.below(200));
                    self.publisher.set_format(&text).expect("a short text");
                }
                2 => self.extra = 16 * input.below(256),
                _ => {
                    let size = 64 << (input.byte() % 9);
                    self.publisher.configure(size, 0).expect("enough memory");
                }
            },
            _ => {}
        }
    }

    fn areas(&self, input: &mut Input<'_>) -> Option<&(Area, Area, u32)> {
        pick(&self.liars, input)?.areas.as_ref()
    }

    /// Connects another client, which starts with this message.
    fn connect(&mut self, hello: &[u8], fds: usize) {
        if self.liars.len() > CLIENTS as usize {
            return;
        }
        let connection = Connection::open(&self.path);
        let (_, fd) = Area::new(PAGE, SEALED);
        let sent = match connection.send(hello, &vec![fd.as_fd(); fds]) {
            // The producer's socket makes the kernel refuse descriptors.
            Err(Errno::PERM) => connection.send(hello, &[]),
            other => other,
        };
        sent.expect("the producer exists");
        // The producer answers every first message, with a Welcome or a Bye.
        let answer = connection.receive();
        let welcome = answer.filter(|answer| answer.kind == wire::WELCOME);
        let areas = welcome.and_then(|welcome| {
            let leases = welcome.u32_at(8);
            let metadata = Area::map(&welcome.fds[0], 256 + 8 * NUMBERS, false);
            let page = Area::map(&welcome.fds[1], PAGE, true);
            fcntl_add_seals(&welcome.fds[1], SEALED).ok()?;
            let ready = wire::message(wire::READY, &[]);
            connection.send(&ready, &[]).ok()?;
            // The producer may have no slots for its leases.
            let is_joined = connection.receive()?.kind == wire::JOINED;
            is_joined.then_some((page, metadata, leases))
        });
        if let Some((_, _, leases)) = &areas {
            self.connected += 1;
            self.leases += leases;
        }
        self.liars.push(Liar { connection, areas });
    }

    /// A slot that is not in use elsewhere; `None` if the maximum number of slots is in use.
    fn acquire(&mut self) -> Option<FrameMut> {
        let in_hand = self.held.len() + self.published.len();
        match self.publisher.acquire(64) {
            Ok(mut frame) => {
                let slot = frame.slot();
                assert!((slot as usize) < NUMBERS);
                assert!(self.held.iter().all(|held| held.slot() != slot));
                assert!(self.published.iter().all(|held| held.slot() != slot));
                assert!(self.frames.iter().all(|held| held.slot() != slot));
                // Written before it is published, so that a client that still reads it sees the
                // change.
                frame.payload().ok()?.fill(0xee);
                Some(frame)
            }
            Err(Error::Exhausted { .. }) => {
                // The producer cannot take the slots that clients may hold, nor the one to publish.
                let most = in_hand as u32 + self.leases;
                assert!(most >= SLOTS, "{in_hand} and {} of {SLOTS}", self.leases);
                None
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, mut frame: FrameMut) -> PublishedSlot {
        self.count += 1;
        frame
            .payload()
            .expect("memory of the CPU")
            .fill(self.count as u8);
        frame
            .meta_mut()
            .set_pts(Some(Duration::from_nanos(self.count)));
        let extra = vec![self.count as u8; self.extra];
        frame.set_extra(&extra).expect("enough memory");
        let published = frame.publish().expect("the channel is open");
        assert_eq!(published.seq() + 1, self.count);
        published
    }

    fn receive(&mut self) {
        let Some(honest) = &mut self.honest else {
            return;
        };
        match honest.receive(Some(Duration::ZERO)) {
            Ok(frame) => {
                look(&frame);
                self.frames.push_back(frame);
            }
            Err(Error::TimedOut | Error::Starved { .. } | Error::EndOfStream) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check(&self) {
        let stats = self.publisher.stats();
        assert_eq!(stats.published, self.count);
        assert!(stats.slots <= SLOTS, "{stats:?}");
        // One segment for each slot number, and one for the extra bytes of each.
        assert!(stats.segments <= 2 * NUMBERS, "{stats:?}");
        assert!(stats.clients.len() <= CLIENTS as usize);
    }

    /// Disconnects the clients, and checks that the producer then has all slots.
    fn end(mut self) {
        for frame in self.frames.drain(..) {
            look(&frame);
        }
        drop(self.honest.take());
        self.liars.clear();
        let mut left = 0;
        while left < self.connected {
            match self.events.recv_timeout(PATIENCE) {
                Ok(PublisherEvent::ClientDisconnected(_)) => left += 1,
                Ok(_) => {}
                Err(_) => panic!("{left} of {} clients have left", self.connected),
            }
        }
        assert_eq!(self.publisher.num_clients(), 0);
        self.leases = 0;
        self.held.clear();
        self.published.clear();
        let slots: Vec<FrameMut> = (0..SLOTS)
            .map(|_| self.acquire().expect("all slots are free again"))
            .inspect(|frame| assert!(frame.capacity() >= 64))
            .collect();
        let mut numbers: Vec<u32> = slots.iter().map(FrameMut::slot).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), SLOTS as usize);
        self.held = slots;
        assert!(self.acquire().is_none(), "there are more than {SLOTS}");
    }
}

fn pick<'a>(liars: &'a [Liar], input: &mut Input<'_>) -> Option<&'a Liar> {
    liars.get(input.below(liars.len()))
}

/// Checks that a frame that an honest client holds is as it was published.
fn look(frame: &Frame) {
    let pts = frame.meta().pts().expect("a time").as_nanos() as u64;
    let expected = pts as u8;
    assert_eq!(frame.seq() + 1, pts);
    assert_eq!(frame.payload().unwrap().to_vec(), [expected; 64]);
    assert!(
        frame
            .extra()
            .expect("there is enough memory")
            .iter()
            .all(|&byte| byte == expected)
    );
}
