//! A channel on which one client attacks what it shares with the producer and the other clients.
//! Each of them is a process, and the hostile one runs as another user if the test may do that.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use serde::{Deserialize, Serialize};

use crate::client::{Client, Receive};
use crate::line::Line;
use crate::nobody::NOBODY;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::producer::{Producer, Publish};

/// The size of a frame in bytes.
const SIZE: usize = 1000;
/// How long an honest client waits for a frame, in ms.
const FRAME_DUE: u64 = 20_000;

/// A hostile client.
pub type Hostile = Peer<Report>;

/// The order to a hostile client: to report what it has done so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report;

impl Order for Report {
    const PROGRAM: &'static str = "xmem-test-hostile";
    const GREETING: &'static str = "attacking";

    fn answer(&self) -> &'static str {
        "report"
    }
}

/// The channel `cam0`, its producer, and clients that receive every frame.
#[derive(Debug)]
pub struct Attacked {
    /// The directory of the channel.
    pub place: Place,
    /// The producer process.
    pub producer: Producer,
    /// The honest clients.
    pub honest: Vec<Client>,
    published: u64,
    /// Number of frames that are published before the test waits for the honest clients. Clients
    /// miss none of them even if the machine does not run them for that long.
    batch: u64,
}

impl Attacked {
    /// Creates a producer that every user may connect to. It has `slots` slots for itself, and
    /// either drops frames or waits for clients (`block`).
    pub fn open(slots: u64, settings: &str) -> Attacked {
        let place = Place::new();
        // Other users may traverse the directory, but not list it.
        set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
        let perms = 0o666;
        let socket = place.socket("cam0").display().to_string();
        let settings =
            format!("path={socket} slots={slots} slot-size={SIZE} perms={perms:o} {settings}");
        Attacked {
            producer: Producer::start(&place, &settings),
            place,
            honest: Vec::new(),
            published: 0,
            batch: if settings.contains("block=") {
                u64::MAX
            } else {
                slots
            },
        }
    }

    fn socket(&self) -> String {
        self.place.socket("cam0").display().to_string()
    }

    /// Adds an honest client.
    pub fn add_honest(&mut self, settings: &str) {
        let settings = format!("path={} {settings}", self.socket());
        let mut client = Client::connected(&self.place, &settings);
        if self.published > 0 {
            // The newest of the existing frames.
            client.receive(1);
        }
        self.honest.push(client);
    }

    /// Adds an honest client to a channel on which other calls published `published` frames.
    pub fn add_honest_at(&mut self, published: u64) {
        self.published = published;
        self.add_honest("");
    }

    /// Starts a hostile client, as another user if this process is root, and waits until it
    /// attacks.
    pub fn attack(&self, role: &str) -> Hostile {
        let settings = format!("{role} socket={} uid={NOBODY}", self.socket());
        Hostile::start(&self.place, &settings)
    }

    /// Publishes frames, and each honest client receives all of them. Returns the number of page
    /// faults of the producer process meanwhile, without those of the first frames.
    ///
    /// # Panics
    /// If a frame cannot be published, is missed, or arrives late.
    pub fn publish(&mut self, frames: u64, period_us: u64) -> u64 {
        let mut faults = 0;
        let end = self.published + frames;
        while self.published < end {
            let count = self.batch.min(end - self.published);
            faults += self.publish_batch(count, period_us);
        }
        faults
    }

    fn publish_batch(&mut self, count: u64, period_us: u64) -> u64 {
        for client in &mut self.honest {
            client.begin(Receive::frames(count).timeout_ms(FRAME_DUE));
        }
        let warm_up = if self.published == 0 { count / 2 } else { 0 };
        let frames = Publish::frames(count, SIZE).period_us(period_us);
        let published = self.producer.ask(frames.warm_up(warm_up));
        assert_eq!(published.number("count"), count);
        self.published += count;
        for client in &mut self.honest {
            let received = client.wait_for("received");
            assert_eq!(received.number("missed"), 0, "{received}");
            assert_eq!(received.number("next"), self.published, "{received}");
        }
        published.number("faults")
    }

    /// The statistics of the producer.
    pub fn stats(&mut self) -> Line {
        self.producer.stats()
    }
}

/// Whether processes may use io_uring on this machine.
pub fn has_io_uring() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    disabled.is_ok_and(|disabled| disabled.trim() == "0")
}

/// Asks a hostile client what it has done so far.
pub fn report(hostile: &mut Hostile) -> Line {
    hostile.ask(Report)
}
