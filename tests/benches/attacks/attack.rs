//! The attacks.

use std::fmt;

use xmem_tests::attacked::has_io_uring;
use xmem_tests::faults::Faults;

/// The condition that an attack is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Beside {
    /// A client that only joins.
    Idle,
    /// A client that receives each frame.
    Honest,
    /// The same attack on memory that the attacker does not share.
    Elsewhere,
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Beside::Idle => "idle",
            Beside::Honest => "honest",
            Beside::Elsewhere => "elsewhere",
        })
    }
}

/// A hostile client, and the channel that it attacks.
#[derive(Debug)]
pub struct Attack {
    /// What the client does, for the table.
    pub title: &'static str,
    /// Its role in `xmem-test-hostile`, with settings.
    pub role: &'static str,
    pub beside: Beside,
    /// Number of slots of the producer.
    pub slots: u64,
    /// Further settings of the channel.
    pub channel: &'static str,
    /// Number of frames that the hostile client holds before frames are timed.
    pub holds: u64,
}

impl Attack {
    const fn new(title: &'static str, role: &'static str, beside: Beside) -> Attack {
        Attack {
            title,
            role,
            beside,
            slots: 100,
            channel: "",
            holds: 0,
        }
    }

    /// Sets the channel.
    const fn on(self, slots: u64, channel: &'static str) -> Attack {
        Attack {
            slots,
            channel,
            ..self
        }
    }

    /// Sets how many frames the hostile client holds.
    const fn holding(self, holds: u64) -> Attack {
        Attack { holds, ..self }
    }

    /// Why the attack cannot be tried on this machine; `None` if it can.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.role.contains("ring=1") && !has_io_uring() {
            Some("io_uring is turned off")
        } else if self.role == "hang" && Faults::open().is_none() {
            Some("this process cannot create page faults that do not end")
        } else {
            None
        }
    }
}

/// All attacks. The first two are controls: both of their conditions are the same.
pub const ALL: &[Attack] = &[
    Attack::new("nothing", "idle", Beside::Idle),
    Attack::new(
        "`FUTEX_WAKE` of words of its own",
        "wake elsewhere=1",
        Beside::Elsewhere,
    ),
    Attack::new(
        "`FUTEX_WAIT_REQUEUE_PI`, `FUTEX_LOCK_PI` on each word",
        "pi",
        Beside::Elsewhere,
    ),
    Attack::new(
        "the same, with `overflow=block`",
        "pi delivery=latest",
        Beside::Elsewhere,
    )
    .on(2, "block=20000"),
    Attack::new(
        "`FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE` of each word",
        "requeue",
        Beside::Elsewhere,
    ),
    Attack::new("`FUTEX_WAKE` of each word", "wake", Beside::Elsewhere),
    Attack::new(
        "2,000 threads that sleep",
        "waiters count=2000",
        Beside::Honest,
    ),
    Attack::new(
        "10,000 sleeps in io_uring",
        "waiters count=10000 ring=1",
        Beside::Honest,
    ),
    Attack::new(
        "holes in its lease page",
        "punch threads=4 leases=64",
        Beside::Elsewhere,
    ),
    Attack::new(
        "advice to the kernel, locks, syncs",
        "advise",
        Beside::Elsewhere,
    ),
    Attack::new(
        "a `write` into its lease page that does not end",
        "hang",
        Beside::Idle,
    ),
    Attack::new(
        "leases that name frames whose slots were just found free",
        "flip leases=16",
        Beside::Elsewhere,
    ),
    Attack::new(
        "false progress, with `overflow=block`",
        "stall leases=4",
        Beside::Elsewhere,
    )
    .on(8, "block=200"),
    Attack::new(
        "64 clients hold 31 frames each",
        "hold clients=64 leases=31",
        Beside::Idle,
    )
    .on(40, "max-slots=2048 max-clients=70")
    .holding(64 * 31),
    Attack::new(
        "descriptors whose close does not end",
        "linger",
        Beside::Idle,
    ),
];
