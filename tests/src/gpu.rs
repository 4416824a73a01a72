//! Processes that publish and receive frames in the memory of a GPU, as a test tells them.

use serde::{Deserialize, Serialize};

use crate::fakecuda::FakeCuda;
use crate::line::Line;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;

/// The name of the channel.
pub const CHANNEL: &str = "gpu0";

/// Orders to a producer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Produce {
    /// Fill a slot of so many bytes with a value, on the stream, and publish it after that.
    Publish(usize, u8),
    /// The same so many times, with the values 0, 1 and so on; the next run goes on there.
    Run(usize, u64),
    /// Fill a slot, wait for the device, and publish it.
    PublishWritten(usize, u8),
    /// Fill a slot and give it back after that.
    Discard(usize, u8),
    /// Acquire a slot and drop it.
    Acquire(usize),
    /// Write a slot with the CPU.
    WriteByCpu(usize),
    /// Make slots of the memory of a device from now on, or else of the machine's.
    Store(Option<u32>),
    /// Fill a slot with the CPU, and publish it.
    PublishByCpu(usize, u8),
    /// Fill a slot, make slots of the machine's memory, and then publish the slot.
    PublishLate(usize, u8),
    /// Say something before the next frame.
    Say(String),
    /// Drop the frames that were published before.
    Flush,
    /// End the stream.
    End,
    /// Publish the frames of another channel in it, until its stream ends.
    Forward(String),
    /// Report figures.
    Stats,
    /// Close the publisher.
    Close,
    /// Drop the publisher.
    Drop,
}

impl Order for Produce {
    const PROGRAM: &'static str = "xmem-test-gpu";
    const ROLE: &'static str = "producer";

    fn answer(&self) -> &'static str {
        match self {
            Produce::Stats => "stats",
            Produce::Forward(_) => "forwarded",
            _ => "done",
        }
    }
}

/// Orders to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Consume {
    /// Receive the next item, and keep the frame. Waits so many milliseconds.
    Receive(u64),
    /// Receive frames until the stream ends, compare each with its number on the device, and release it
    /// after a copy of it.
    Run,
    /// Report whether all bytes of the oldest frame that is kept have one value.
    Look,
    /// Read the oldest frame on the stream, and release it after that.
    Release,
    /// Drop the oldest frame.
    Drop,
    /// Write the oldest frame on the device, and report the code.
    Write,
    /// Read the oldest frame with the CPU. Report whether all its bytes have one value.
    ReadByCpu,
    /// Report figures.
    Stats,
    /// Drop the subscriber, and keep the frames.
    Leave,
}

impl Order for Consume {
    const PROGRAM: &'static str = "xmem-test-gpu";
    const ROLE: &'static str = "client";

    fn answer(&self) -> &'static str {
        match self {
            Consume::Receive(_) => "received",
            Consume::Run => "ended",
            Consume::Look => "looked",
            Consume::Stats => "stats",
            _ => "done",
        }
    }
}

/// Starts a producer, with settings as `key=value` words: `slots`, `block` (milliseconds), `bytes` and
/// `device`.
pub fn producer(place: &Place, driver: &FakeCuda, settings: &str) -> Peer<Produce> {
    start(place, driver, settings)
}

/// Starts a client, with settings as `key=value` words: `leases`, `unsealed` (`never`).
pub fn client(place: &Place, driver: &FakeCuda, settings: &str) -> Peer<Consume> {
    start(place, driver, settings)
}

fn start<O: Order>(place: &Place, driver: &FakeCuda, settings: &str) -> Peer<O> {
    let mut command = Peer::<O>::command(settings);
    driver.apply(&mut command);
    Peer::start_with(command, place)
}

/// Receives the next frame, and returns its position and how many were missed.
pub fn receive(client: &mut Peer<Consume>) -> (u64, u64) {
    let line = client.ask(Consume::Receive(10_000));
    assert_eq!(line.get("kind"), Some("frame"), "{line}");
    (line.number("seq"), line.number("missed"))
}

/// The value of all bytes of the oldest frame that a client keeps.
pub fn look(client: &mut Peer<Consume>) -> Option<u64> {
    client.ask(Consume::Look).get_number("all")
}

/// Figures of a peer.
pub fn stats<O: Order>(peer: &mut Peer<O>, order: O) -> Line {
    peer.ask(order)
}
