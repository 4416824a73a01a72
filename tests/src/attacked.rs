//! A channel on which one client attacks what it shares with the producer and the others. All are
//! processes of their own, and the hostile one is another user's where the test may do that.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use crate::line::Line;
use crate::nobody::NOBODY;
use crate::peer::Peer;
use crate::place::Place;

/// Bytes of a frame.
const SIZE: usize = 1000;
/// How long an honest client waits for a frame, in ms.
const FRAME_DUE: u64 = 20_000;

/// The programs that take part: `xmem-test-peer` and `xmem-test-hostile`, whose paths only
/// integration tests know.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// What plays the producer and the honest clients.
    pub peer: &'static str,
    /// What attacks.
    pub hostile: &'static str,
}

/// The channel `cam0`, its producer, and clients that receive every frame.
#[derive(Debug)]
pub struct Attacked {
    programs: Programs,
    /// Where it is.
    pub place: Place,
    /// The producer.
    pub producer: Peer,
    /// The honest clients.
    pub honest: Vec<Peer>,
    published: u64,
    /// Frames that are published before the honest clients have to have received them: where the
    /// machine does not run them for so long, they miss nothing.
    batch: u64,
}

impl Attacked {
    /// A producer that every user may connect to. It has so many slots for itself, and either drops
    /// frames or waits for clients (`block`).
    pub fn open(programs: Programs, slots: u64, settings: &str) -> Attacked {
        let place = Place::new();
        // Others may pass, not look.
        set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
        let perms = 0o666;
        let socket = place.socket("cam0").display().to_string();
        let settings = format!(
            "producer path={socket} slots={slots} slot-size={SIZE} perms={perms:o} {settings}"
        );
        let mut producer = Peer::start(programs.peer, &place, &settings);
        producer.wait_for("opened");
        Attacked {
            programs,
            place,
            producer,
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
        let settings = format!("client path={} {settings}", self.socket());
        let mut client = Peer::start(self.programs.peer, &self.place, &settings);
        client.wait_for("ready");
        client.ask("connect", "connected");
        if self.published > 0 {
            // The newest of those that there are.
            client.ask("receive count=1", "received");
        }
        self.honest.push(client);
    }

    /// Adds an honest client to a channel on which so many frames were published otherwise.
    pub fn add_honest_at(&mut self, published: u64) {
        self.published = published;
        self.add_honest("");
    }

    /// Starts a hostile client, of another user where this process is root, and waits until it is at
    /// work.
    pub fn attack(&self, role: &str) -> Peer {
        let arguments = format!("{role} socket={} uid={NOBODY}", self.socket());
        let mut hostile = Peer::start(self.programs.hostile, &self.place, &arguments);
        hostile.wait_for("attacking");
        hostile
    }

    /// Publishes frames, all of which every honest client receives. Returns how many page faults the
    /// producer's process has had meanwhile, but for those of the first frames.
    ///
    /// # Panics
    /// Where a frame can't be published, is missed, or comes late.
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
            client.order(&format!("receive count={count} timeout-ms={FRAME_DUE}"));
            client.wait_for("receiving");
        }
        let warm_up = if self.published == 0 { count / 2 } else { 0 };
        let order =
            format!("publish count={count} size={SIZE} period-us={period_us} warm-up={warm_up}");
        let published = self.producer.ask(&order, "published");
        assert_eq!(published.number("count"), count);
        self.published += count;
        for client in &mut self.honest {
            let received = client.wait_for("received");
            assert_eq!(received.number("missed"), 0, "{received}");
            assert_eq!(received.number("next"), self.published, "{received}");
        }
        published.number("faults")
    }

    /// What the producer says of itself.
    pub fn stats(&mut self) -> Line {
        self.producer.ask("stats", "stats")
    }
}

/// Whether processes may use io_uring here.
pub fn has_io_uring() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    disabled.is_ok_and(|disabled| disabled.trim() == "0")
}

/// What a hostile client has done so far.
pub fn report(hostile: &mut Peer) -> Line {
    hostile.ask("report", "report")
}
