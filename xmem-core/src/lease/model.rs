//! The protocol under loom: every interleaving, with weak memory, of one writer and two clients.
//!
//! A slot's payload is a loom cell, which fails the run when a write is concurrent with a read,
//! and the clients check that they read what the frame's generation says. Each full fence is also
//! left out once: then a run must fail, or the model would prove nothing.

use std::cell::Cell;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::*;

thread_local! {
    static OMITTED: Cell<Option<FullFence>> = const { Cell::new(None) };
}

/// The fence that the test on this thread leaves out.
pub(super) fn omitted() -> Option<FullFence> {
    OMITTED.get()
}

fn model(omit: Option<FullFence>, run: impl Fn() + Send + Sync + 'static) {
    OMITTED.set(omit);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

struct Words {
    wake: AtomicU32,
    sleep: AtomicU64,
    progress: AtomicU32,
    cursor: AtomicU64,
    missed: AtomicU64,
    leases: Vec<AtomicU64>,
}

struct World {
    states: Vec<AtomicU64>,
    ring: Vec<AtomicU64>,
    head: AtomicU64,
    writer_waiting: AtomicU32,
    end: AtomicU64,
    payload: Vec<UnsafeCell<u64>>,
    clients: Vec<Words>,
}

impl World {
    fn new(slots: usize, clients: usize) -> Arc<World> {
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(World {
            states: words(slots),
            ring: words((2 * slots).next_power_of_two()),
            head: AtomicU64::new(0),
            writer_waiting: AtomicU32::new(0),
            end: AtomicU64::new(0),
            payload: (0..slots).map(|_| UnsafeCell::new(0)).collect(),
            clients: (0..clients)
                .map(|_| Words {
                    wake: AtomicU32::new(0),
                    sleep: AtomicU64::new(0),
                    progress: AtomicU32::new(0),
                    cursor: AtomicU64::new(0),
                    missed: AtomicU64::new(0),
                    leases: words(1),
                })
                .collect(),
        })
    }

    fn channel(&self) -> ChannelWords<'_> {
        ChannelWords {
            states: &self.states,
            ring: &self.ring,
            head: &self.head,
            writer_waiting: &self.writer_waiting,
            end: &self.end,
        }
    }

    fn client(&self, client: usize) -> ClientWords<'_> {
        let words = &self.clients[client];
        ClientWords {
            wake: &words.wake,
            sleep: &words.sleep,
            progress: &words.progress,
            cursor: &words.cursor,
            missed: &words.missed,
            leases: &words.leases,
        }
    }

    fn all_clients(&self) -> impl Iterator<Item = ClientWords<'_>> {
        (0..self.clients.len()).map(|client| self.client(client))
    }

    /// Writes the frame's own name into its payload.
    #[allow(unsafe_code)]
    fn write(&self, frame: FrameId) {
        // SAFETY: loom's cell checks what is proved here, that no read is concurrent.
        self.payload[usize::from(frame.slot().0)].with_mut(|payload| unsafe {
            *payload = frame.word();
        });
    }

    /// Checks that the payload is the frame's.
    #[allow(unsafe_code)]
    fn read(&self, frame: FrameId) {
        // SAFETY: loom's cell checks what is proved here, that no write is concurrent.
        let found = self.payload[usize::from(frame.slot().0)].with(|payload| unsafe { *payload });
        assert_eq!(found, frame.word(), "torn frame");
    }

    /// Publishes at most `turns` frames through the one slot, in each turn looking whether it is
    /// free, as the pool does: a slot that was retired under a lease is pinned until the lease
    /// is gone.
    fn publish(&self, turns: u64) {
        let slot = SlotIndex(0);
        let mut generation = Generation::UNUSED;
        let mut published: Option<FrameId> = None;
        let mut position = 0;
        for _ in 0..turns {
            if let Some(frame) = published {
                if frame.generation() == generation {
                    self.channel().retire([frame]);
                    generation = generation.next();
                }
                if self.all_clients().any(|words| words.holds(frame)) {
                    continue;
                }
            }
            generation = generation.next();
            let frame = FrameId::new(slot, generation);
            self.write(frame);
            self.channel().publish(frame, position);
            published = Some(frame);
            position += 1;
        }
    }

    /// Looks at `positions` positions, reads what can be leased, twice, and releases it.
    fn receive(&self, client: usize, positions: u64) {
        let words = self.client(client);
        for position in 0..positions {
            if let Claim::Leased(frame) = self.channel().try_claim(&words, 0, position) {
                self.read(frame);
                thread::yield_now();
                self.read(frame);
                words.release(0);
            }
        }
    }
}

fn frames_are_whole(clients: usize, omit: Option<FullFence>) {
    model(omit, move || {
        let world = World::new(1, clients);
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let world = world.clone();
                thread::spawn(move || world.receive(client, 2))
            })
            .collect();
        world.publish(3);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn two_clients_never_read_a_torn_frame() {
    frames_are_whole(2, None);
}

#[test]
#[should_panic]
fn without_the_writers_fence_a_frame_is_torn() {
    frames_are_whole(1, Some(FullFence::Recycle));
}

#[test]
#[should_panic]
fn without_the_clients_fence_a_frame_is_torn() {
    frames_are_whole(1, Some(FullFence::Claim));
}

/// Two frames that are retired at once, with one fence, are each read to the end, or not at all.
fn frames_retired_together_are_whole(omit: Option<FullFence>) {
    model(omit, move || {
        let world = World::new(2, 1);
        let frames = [0, 1].map(|slot| FrameId::new(SlotIndex(slot), Generation::UNUSED.next()));
        for (position, frame) in frames.into_iter().enumerate() {
            world.write(frame);
            world.channel().publish(frame, position as u64);
        }
        let client = {
            let world = world.clone();
            thread::spawn(move || world.receive(0, 2))
        };
        world.channel().retire(frames);
        for frame in frames {
            if !world.client(0).holds(frame) {
                world.write(FrameId::new(frame.slot(), frame.generation().next().next()));
            }
        }
        client.join().unwrap();
    });
}

#[test]
fn two_frames_retired_with_one_fence_are_whole() {
    frames_retired_together_are_whole(None);
}

#[test]
#[should_panic]
fn two_frames_retired_without_a_fence_are_torn() {
    frames_retired_together_are_whole(Some(FullFence::Recycle));
}

impl World {
    /// Publishes a frame in a slot of its own, and ends the client's sleep where it has to.
    fn publish_and_wake(&self, position: u64, woken: &mut u64) {
        let frame = FrameId::new(SlotIndex(position as u16), Generation::UNUSED.next());
        self.write(frame);
        self.channel().publish(frame, position);
        let words = self.client(0);
        if let Some(sleep) = words.must_wake(position, *woken) {
            *woken = sleep;
            words.end_sleep();
        }
    }
}

/// A client sleeps only when the writer, which has published meanwhile, ends that sleep.
fn nobody_sleeps_through_a_frame(omit: Option<FullFence>) {
    model(omit, move || {
        let world = World::new(1, 1);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                let seen = world.client(0).wake_value();
                let is_due = world.channel().prepare_sleep(&world.client(0), 0);
                is_due.then_some(seen)
            })
        };
        world.publish_and_wake(0, &mut 0);
        // The kernel compares the word with the value returned: only an equal one sleeps, and a
        // change that comes later is followed by a wake.
        let seen = client.join().unwrap();
        let is_woken = seen != Some(world.client(0).wake_value());
        assert!(is_woken, "a client sleeps and is not woken");
    });
}

#[test]
fn a_client_that_sleeps_is_woken() {
    nobody_sleeps_through_a_frame(None);
}

#[test]
#[should_panic(expected = "is not woken")]
fn without_the_publishers_fence_a_client_sleeps_on() {
    nobody_sleeps_through_a_frame(Some(FullFence::Publish));
}

#[test]
#[should_panic(expected = "is not woken")]
fn without_the_sleepers_fence_a_client_sleeps_on() {
    nobody_sleeps_through_a_frame(Some(FullFence::Sleep));
}

/// A client that was woken and sleeps again is woken again, though no sleep is ended twice.
#[test]
fn a_client_that_sleeps_a_second_time_is_woken() {
    model(None, || {
        let world = World::new(2, 1);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                let (channel, words) = (world.channel(), world.client(0));
                words.wake_value();
                // Sleeping is left out: it may end for no reason at all.
                if channel.prepare_sleep(&words, 0) {
                    words.finish_sleep();
                    if channel.head() == 0 {
                        return None;
                    }
                }
                words.pass(1);
                let seen = words.wake_value();
                channel.prepare_sleep(&words, 1).then_some(seen)
            })
        };
        let mut woken = 0;
        for position in 0..2 {
            world.publish_and_wake(position, &mut woken);
        }
        let seen = client.join().unwrap();
        let is_woken = seen != Some(world.client(0).wake_value());
        assert!(is_woken, "a client sleeps and is not woken");
    });
}

/// A client whose sleep ends without a frame, and that sleeps again before it, is woken by it.
#[test]
fn a_client_whose_sleep_ended_for_no_reason_is_woken() {
    model(None, || {
        let world = World::new(1, 1);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                let (channel, words) = (world.channel(), world.client(0));
                if channel.prepare_sleep(&words, 0) {
                    words.finish_sleep();
                }
                let seen = words.wake_value();
                channel.prepare_sleep(&words, 0).then_some(seen)
            })
        };
        world.publish_and_wake(0, &mut 0);
        let seen = client.join().unwrap();
        let is_woken = seen != Some(world.client(0).wake_value());
        assert!(is_woken, "a client sleeps and is not woken");
    });
}

/// A client that sees a frame sees the end of stream before it.
#[test]
fn an_end_of_stream_is_not_overtaken_by_the_next_frame() {
    model(None, || {
        let world = World::new(2, 1);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                let head = world.channel().head();
                (head, world.channel().end())
            })
        };
        let frame = FrameId::new(SlotIndex(0), Generation::UNUSED.next());
        world.channel().end_stream(0);
        world.write(frame);
        world.channel().publish(frame, 0);
        let (head, end) = client.join().unwrap();
        assert!(
            head == 0 || end == Some(0),
            "a frame was seen before the end"
        );
    });
}

/// A writer that blocks until the client has passed a frame is woken when it does.
fn no_writer_blocks_for_ever(omit: Option<FullFence>) {
    model(omit, move || {
        let world = World::new(1, 1);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                world.client(0).pass(1);
                world.channel().wake_writer(&world.client(0))
            })
        };
        let words = world.client(0);
        let progress = words.progress.load(Ordering::Acquire);
        world.channel().prepare_block();
        let blocked = words.position() == 0;
        let woken = client.join().unwrap();
        // The kernel would compare `progress`: a wake before the sleep is not lost.
        let sleeps = blocked && (!woken || words.progress.load(Ordering::Acquire) == progress);
        assert!(!sleeps, "the writer sleeps and is not woken");
    });
}

#[test]
fn a_writer_that_blocks_is_woken() {
    no_writer_blocks_for_ever(None);
}

#[test]
#[should_panic(expected = "is not woken")]
fn without_the_writers_fence_it_blocks_on() {
    no_writer_blocks_for_ever(Some(FullFence::Block));
}

#[test]
#[should_panic(expected = "is not woken")]
fn without_the_clients_progress_fence_the_writer_blocks_on() {
    no_writer_blocks_for_ever(Some(FullFence::Progress));
}

/// A client whose cursor the writer sees is seen holding what it leased before.
#[test]
fn a_frame_that_was_passed_is_released_or_seen_leased() {
    model(None, || {
        let world = World::new(1, 1);
        let frame = FrameId::new(SlotIndex(0), Generation::UNUSED.next());
        world.write(frame);
        world.channel().publish(frame, 0);
        let client = {
            let world = world.clone();
            thread::spawn(move || {
                let words = world.client(0);
                let claim = world.channel().try_claim(&words, 0, 0);
                words.pass(1);
                assert_eq!(claim, Claim::Leased(frame), "a frame was lost");
                world.read(frame);
                words.release(0);
            })
        };
        // overflow=block: only what was passed is taken back.
        if world.client(0).position() == 1 {
            world.channel().retire([frame]);
            if !world.client(0).holds(frame) {
                world.write(FrameId::new(frame.slot(), frame.generation().next().next()));
            }
        }
        client.join().unwrap();
    });
}
