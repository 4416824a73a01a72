//! Producers without GStreamer, in processes of their own.

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::order::Order;
use crate::peer::Peer;
use crate::setters::{setters, variants};
use crate::wait::until;

/// A process with a publisher. Its settings are `channel=NAME` (`cam0`) or `path=SOCKET`, `slots`,
/// `slot-size`, `max-slots`, `max-bytes`, `max-clients`, `block` (ms), `name`, `perms`, `uid`, and
/// `threads=one`.
pub type Producer = Peer<ProducerOrder>;

/// A process that opens and closes a channel on orders. Its settings are `channel` or `path`,
/// `slot-size`, `perms`, and `uid`.
pub type Opener = Peer<OpenerOrder>;

/// Orders to a producer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ProducerOrder {
    /// Publish frames.
    Publish(Publish),
    /// Publish frames, and end with `SIGKILL` at the end of the last publish.
    PublishAndDie(Publish),
    /// Publish frames until [`Halt`](ProducerOrder::Halt), whatever their number.
    Run(Publish),
    /// Publish frames and measure how long that takes. A frame that is late delays none after it.
    Time(Publish),
    /// Set the format.
    Format(String),
    /// Publish a frame in imported memory, into which this process can punch holes.
    PassOn,
    /// Wait for that many clients.
    WaitForClients(usize),
    /// Fork a child that publishes, ends the stream, and closes the channel, as far as it can.
    ForkAndClose,
    /// End the stream.
    Eos,
    /// Close the channel.
    Close,
    /// At once: cancel what the producer waits for.
    Cancel,
    /// At once: end [`Publish`](ProducerOrder::Publish) or [`Run`](ProducerOrder::Run).
    Halt,
    /// At once: report the statistics.
    Stats,
    /// At once: fork a child that keeps everything.
    Fork,
}

impl Order for ProducerOrder {
    const PROGRAM: &'static str = "xmem-test-peer";
    const ROLE: &'static str = "producer";
    const GREETING: &'static str = "opened";

    fn answer(&self) -> &'static str {
        match self {
            ProducerOrder::Publish(_) | ProducerOrder::PublishAndDie(_) | ProducerOrder::Run(_) => {
                "published"
            }
            ProducerOrder::Time(_) => "timed",
            ProducerOrder::Format(_) => "formatted",
            ProducerOrder::PassOn => "passed",
            ProducerOrder::WaitForClients(_) => "clients",
            ProducerOrder::ForkAndClose | ProducerOrder::Fork => "forked",
            ProducerOrder::Eos => "ended",
            ProducerOrder::Close => "closed",
            ProducerOrder::Cancel | ProducerOrder::Halt => "heard",
            ProducerOrder::Stats => "stats",
        }
    }
}

/// Which frames to publish, and how.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Publish {
    /// Number of frames.
    pub count: u64,
    /// Size of the first, in bytes.
    pub size: usize,
    /// By how many bytes each is larger than the one before.
    pub grow: usize,
    /// Number of extra bytes of each.
    pub extra: usize,
    /// The time between two frames, in µs.
    pub period_us: u64,
    /// Number of frames before page faults are counted and times are measured.
    pub warm_up: u64,
}

impl Publish {
    /// Publishes `count` frames of `size` bytes.
    pub fn frames(count: u64, size: usize) -> Publish {
        Publish {
            count,
            size,
            ..Publish::default()
        }
    }
}

setters!(Publish {
    grow: usize,
    extra: usize,
    period_us: u64,
    warm_up: u64,
});

variants!(ProducerOrder { Publish });

impl Producer {
    /// Publishes `count` frames of `size` bytes.
    pub fn publish(&mut self, count: u64, size: usize) -> Line {
        self.ask(Publish::frames(count, size))
    }

    /// Publishes frames until [`halt`](Producer::halt).
    pub fn run(&mut self, frames: Publish) {
        self.begin(ProducerOrder::Run(frames));
    }

    /// Ends [`run`](Producer::run), and returns what was published.
    pub fn halt(&mut self) -> Line {
        self.order(ProducerOrder::Halt);
        self.wait_for("published")
    }

    /// The statistics of the publisher.
    pub fn stats(&mut self) -> Line {
        self.ask(ProducerOrder::Stats)
    }

    /// Waits until the producer has this number of clients.
    pub fn until_clients(&mut self, count: u64) {
        until("the producer has these clients", || {
            self.stats().number("clients") == count
        });
    }
}

/// Orders to an opener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum OpenerOrder {
    /// Open the channel.
    Open,
    /// Open and close the channel that many times.
    Cycle(u64),
    /// Publish a frame.
    Publish,
}

impl Order for OpenerOrder {
    const PROGRAM: &'static str = "xmem-test-peer";
    const ROLE: &'static str = "opener";

    fn answer(&self) -> &'static str {
        match self {
            OpenerOrder::Open => "opened",
            OpenerOrder::Cycle(_) => "cycled",
            OpenerOrder::Publish => "published",
        }
    }
}
