//! Processes that publish and receive frames in the memory of a GPU, as a test tells them.

mod picture;

use serde::{Deserialize, Serialize};

pub use picture::{Picture, written};

use crate::fakecuda::{Control, FakeCuda, Mode};
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::{is_torture, until};

/// The name of the channel.
pub const CHANNEL: &str = "gpu0";
/// The size of most frames.
pub const SIZE: usize = 64 << 10;

/// Orders to a producer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Produce {
    /// Fill a slot of so many bytes with a value, on the stream, and publish it after that. Report the number
    /// of the slot.
    Publish(usize, u8),
    /// The same so many times, with the values 0, 1 and so on; the next run goes on there.
    Run(usize, u64),
    /// Publish slots of so many bytes for so many milliseconds, as fast as it goes. All words of each
    /// have the position of its frame.
    Number(usize, u64),
    /// Fill a slot, wait for the device, and publish it.
    PublishWritten(usize, u8),
    /// As `Publish`, with a value that is kept until the work is done. The result is kept.
    Keep(usize, u8),
    /// Report how many such values were dropped, and how many results are kept.
    Kept,
    /// Drop the oldest result.
    LetGo,
    /// Fork, and use and drop what the child has. Report whether it may not.
    ForkAndDrop(usize),
    /// Fill a slot and give it back after that.
    Discard(usize, u8),
    /// Acquire a slot, report its number, and drop it.
    Acquire(usize),
    /// Write a slot with the CPU.
    WriteByCpu(usize),
    /// Make slots of the memory of a device from now on, or else of the machine's.
    Store(Option<u32>),
    /// Fill a slot with the CPU, and publish it.
    PublishByCpu(usize, u8),
    /// Fill a slot, make slots of the machine's memory, and then publish the slot.
    PublishLate(usize, u8),
    /// Set the format of the frames that follow: caps as text.
    Format(String),
    /// Write a picture into a slot, in memory of the device or of the machine, and publish it.
    Picture(Picture),
    /// Say something before the next frame.
    Say(String),
    /// Say something that overtakes frames.
    Urgent,
    /// Drop the frames that were published before.
    Flush,
    /// End the stream.
    End,
    /// Publish the frames of another channel in it, until its stream ends.
    Forward(String),
    /// Publish the next frame of another channel in it, with a value that publishes, sends events and closes
    /// the publisher when it is dropped.
    ImportActing(String),
    /// Report how that has ended.
    Acted,
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
            Produce::Acted => "acted",
            Produce::Kept => "kept",
            Produce::ForkAndDrop(_) => "forked",
            Produce::Forward(_) => "forwarded",
            Produce::Number(..) => "numbered",
            _ => "done",
        }
    }
}

/// Orders to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Consume {
    /// Connect to another channel, in place of the first.
    Connect(String),
    /// Receive a frame of the channel beside that, and report the value of all its bytes.
    Beside,
    /// Receive the next item, and keep the frame. Waits so many milliseconds.
    Receive(u64),
    /// Receive frames until the stream ends, compare each with its number on the device, and release it
    /// after a copy of it. Report how it has ended.
    Run,
    /// Receive frames until the stream ends, and compare words of each with its position on the
    /// device: the first, the last and some between.
    Compare,
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
    /// Fork, and use and drop what the child has. Report whether it may not.
    ForkAndDrop,
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
            Consume::Beside => "beside",
            Consume::Run | Consume::Compare => "ended",
            Consume::Look => "looked",
            Consume::Stats => "stats",
            Consume::ForkAndDrop => "forked",
            _ => "done",
        }
    }
}

/// Starts a producer, with settings as `key=value` words: `slots`, `block` (milliseconds), `bytes` and
/// `device`.
pub fn producer(place: &Place, driver: &FakeCuda, settings: &str) -> Peer<Produce> {
    start(place, driver, settings)
}

/// Starts a client, with settings as `key=value` words: `leases`, `unsealed` (`never`), `channel` (`none`
/// without a connection), and `beside`, a channel to receive from beside the one of a later [`Consume::Connect`].
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

/// Figures of a producer.
pub fn stats(producer: &mut Peer<Produce>, figure: &str) -> u64 {
    producer.ask(Produce::Stats).number(figure)
}

/// Waits until a producer has so many clients.
pub fn wait_for_clients(producer: &mut Peer<Produce>, count: u64) {
    until("the clients are there", || {
        stats(producer, "clients") == count
    });
}

/// Checks that neither a frame nor an event comes.
pub fn assert_nothing_comes(client: &mut Peer<Consume>) {
    let line = client.fail_at(Consume::Receive(100));
    assert_eq!(line.text("kind"), "timed_out", "{line}");
}

/// Checks that the next frame has this position and this value, and drops it.
pub fn assert_next(client: &mut Peer<Consume>, position: u64, value: u8) {
    assert_eq!(receive(client), (position, 0));
    assert_eq!(look(client), Some(value.into()));
    client.ask(Consume::Drop);
}

/// A driver that holds work.
pub fn held() -> FakeCuda {
    FakeCuda::new().mode(Mode::Hold)
}

/// How often a test repeats something: `few` times, or 1,000 times with `make torture`.
pub fn rounds(few: usize) -> usize {
    if is_torture() { 1000 } else { few }
}

/// A producer whose work is held, and a client. The slots of both were made before.
#[derive(Debug)]
pub struct Held {
    /// The producer.
    pub producer: Peer<Produce>,
    /// Runs its work.
    pub control: Control,
    /// The client, whose work runs at once.
    pub client: Peer<Consume>,
    /// The driver of the producer.
    pub driver: FakeCuda,
    /// The driver of the client.
    pub reading: FakeCuda,
    /// Where the channel is.
    pub place: Place,
}

impl Held {
    /// Starts both.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Held {
        Held::on(held())
    }

    /// Starts both, the producer with this driver.
    pub fn on(driver: FakeCuda) -> Held {
        let (place, reading) = (Place::new(), FakeCuda::new());
        let mut producer = producer(&place, &driver, "");
        let mut control = driver.control(producer.pid());
        control.open();
        producer.ask(Produce::Acquire(SIZE));
        let client = client(&place, &reading, "");
        wait_for_clients(&mut producer, 1);
        control.hold();
        Held {
            producer,
            control,
            client,
            driver,
            reading,
            place,
        }
    }
}
