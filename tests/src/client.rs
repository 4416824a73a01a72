//! Clients without GStreamer, in processes of their own.

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::setters::{setters, variants};

/// A process with a subscriber. Its settings are `channel=NAME` (`cam0`) or `path=SOCKET`,
/// `leases`, `backlog` (the first), `delivery=latest`, `name`, `timeout-ms` (of connecting; without
/// it there is no limit), `uid`, and `threads=one`.
pub type Client = Peer<ClientOrder>;

/// Orders to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ClientOrder {
    /// Connect, or connect again.
    Connect,
    /// Drop the subscriber.
    Disconnect,
    /// Connect, receive a frame and disconnect, that many times.
    Cycle(u64),
    /// Receive frames and check each.
    Receive(Receive),
    /// Receive that many frames without waiting for any of them.
    Look(u64),
    /// Receive frames and measure the latency of each.
    Time(Time),
    /// Receive that many frames and keep them.
    Hold(u64),
    /// Request a quota, and wait until it is granted.
    Request(Request),
    /// Receive until [`Halt`](ClientOrder::Halt), and reconnect after each error that a retry can
    /// help against. Check each frame a second time before it is dropped: one frame in 256 up to
    /// `linger_us` later.
    Run {
        /// The longest time between the two checks, in µs.
        linger_us: u64,
    },
    /// Fork a child that drops everything.
    ForkAndDrop,
    /// At once: cancel what the client waits for.
    Cancel,
    /// At once: make the canceller usable again.
    Reset,
    /// At once: end [`Run`](ClientOrder::Run).
    Halt,
    /// At once: drop that many of the kept frames.
    Release(usize),
    /// At once: check that the kept frames have not changed.
    CheckHeld,
    /// At once: report what was received.
    Progress,
    /// At once: fork a child that keeps everything.
    Fork,
}

impl Order for ClientOrder {
    const PROGRAM: &'static str = "xmem-test-peer";
    const ROLE: &'static str = "client";

    fn answer(&self) -> &'static str {
        match self {
            ClientOrder::Connect => "connected",
            ClientOrder::Disconnect => "disconnected",
            ClientOrder::Cycle(_) => "cycled",
            ClientOrder::Receive(_) | ClientOrder::Look(_) => "received",
            ClientOrder::Time(_) => "timed",
            ClientOrder::Hold(_) => "holding",
            ClientOrder::Request(_) => "granted",
            ClientOrder::Run { .. } => "halted",
            ClientOrder::ForkAndDrop | ClientOrder::Fork => "forked",
            ClientOrder::Cancel
            | ClientOrder::Reset
            | ClientOrder::Halt
            | ClientOrder::Release(_)
            | ClientOrder::CheckHeld => "heard",
            ClientOrder::Progress => "progress",
        }
    }
}

/// Which frames to receive, and how.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Receive {
    /// Number of frames.
    pub count: u64,
    /// How long to wait for each, in ms; without it, as long as it takes.
    pub timeout_ms: Option<u64>,
    /// How long each is kept, in µs.
    pub work_us: u64,
    /// Number of frames before page faults are counted.
    pub warm_up: u64,
}

impl Receive {
    /// Receives that many frames.
    pub fn frames(count: u64) -> Receive {
        Receive {
            count,
            ..Receive::default()
        }
    }
}

setters!(Receive {
    timeout_ms: u64,
    work_us: u64,
    warm_up: u64,
});

/// Frames whose latency is measured, by their positions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Time {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub until: u64,
    /// The first whose latency is reported.
    pub after: u64,
    /// If no frame arrives for this long, in ms, the client stops waiting.
    pub timeout_ms: u64,
}

/// A quota.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Number of leases.
    pub leases: u32,
    /// The wanted backlog.
    pub backlog: u32,
    /// The least and the most backlog that is waited for, if not the wanted one.
    pub granted: Option<(u32, u32)>,
}

variants!(ClientOrder {
    Receive,
    Time,
    Request
});

impl Client {
    /// Starts a client that is connected.
    pub fn connected(place: &Place, settings: &str) -> Client {
        let mut client = Client::start(place, settings);
        client.connect();
        client
    }

    /// Connects.
    pub fn connect(&mut self) -> Line {
        self.ask(ClientOrder::Connect)
    }

    /// Receives that many frames.
    pub fn receive(&mut self, count: u64) -> Line {
        self.ask(Receive::frames(count))
    }

    /// Receives that many frames, and misses none.
    ///
    /// # Panics
    /// If it does.
    pub fn receive_all(&mut self, count: u64) {
        let received = self.receive(count);
        assert_eq!(received.number("missed"), 0, "{received}");
    }

    /// Receives that many frames and keeps them.
    pub fn hold(&mut self, count: u64) -> Line {
        self.ask(ClientOrder::Hold(count))
    }

    /// Drops that many of the kept frames.
    pub fn release(&mut self, count: usize) -> Line {
        self.ask(ClientOrder::Release(count))
    }

    /// Requests a quota, and waits until it is granted.
    pub fn request(&mut self, leases: u32, backlog: u32) -> Line {
        let granted = None;
        self.ask(Request {
            leases,
            backlog,
            granted,
        })
    }

    /// What was received so far.
    pub fn progress(&mut self) -> Line {
        self.ask(ClientOrder::Progress)
    }
}
