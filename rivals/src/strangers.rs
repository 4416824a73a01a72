//! Connections to the control socket that are not of clients.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use xmem_tests::random::Random;
use xmem_tests::roles::Result;

use crate::actor::PATIENCE;
use crate::producers::outcome;
use crate::sheet::Sheet;
use crate::stage::Stage;
use crate::watch::{DISTURBED, USUAL, watch};

/// Number of connections that send garbage.
const LOUD: usize = 100;

/// What a stranger does after it has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends nothing. One connection.
    Silent,
    /// Sends one byte and omits the rest of the message. One connection.
    Hesitant,
    /// Sends random bytes. [`LOUD`] connections, which stay open.
    Loud,
}

impl Manner {
    /// All manners, in the order of the table.
    pub const ALL: [Manner; 3] = [Manner::Silent, Manner::Hesitant, Manner::Loud];

    fn count(self) -> usize {
        match self {
            Manner::Silent | Manner::Hesitant => 1,
            Manner::Loud => LOUD,
        }
    }
}

/// The title of the experiment.
impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Manner::Silent => f.write_str("a connection that sends nothing"),
            Manner::Hesitant => f.write_str("a connection that sends one byte"),
            Manner::Loud => write!(f, "{LOUD} connections that send garbage"),
        }
    }
}

/// Connects strangers beside a client and keeps them; then connects a new client.
pub fn come(stage: &mut Stage<'_>, sheet: &mut Sheet, manner: Manner) -> Result<()> {
    let transport = stage.transport;
    let mut producer = stage.producer()?;
    let mut client = stage.client()?;
    let before = watch(&mut producer, &mut client, USUAL)?;
    let mut random = Random::new();
    let mut strangers = Vec::new();
    for _ in 0..manner.count() {
        // A stranger that cannot connect does no harm.
        let Ok(stranger) = connect(&stage.socket(), transport.socket_type()) else {
            continue;
        };
        let bytes: Vec<u8> = match manner {
            Manner::Silent => Vec::new(),
            Manner::Hesitant => vec![1],
            Manner::Loud => {
                let len = 1 + random.number() as usize % 4096;
                (0..len).map(|_| random.number() as u8).collect()
            }
        };
        // The producer may have closed the connection already.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if !bytes.is_empty() {
            let _ = net::send(&stranger, &bytes, flags);
        }
        strangers.push(stranger);
    }
    let during = watch(&mut producer, &mut client, DISTURBED)?;
    sheet.add("the producer", transport, during.producer(&before));
    sheet.add("a client", transport, during.client());
    let mut late = stage.start_client("")?;
    let found = outcome(&mut late, "receiving", PATIENCE)?;
    sheet.promise(
        transport,
        during.goes_on() && during.is_served(),
        "strangers do not disturb others",
    );
    sheet.add("a new client then", transport, found.words("receives"));
    drop(strangers);
    Ok(())
}

fn connect(path: &Path, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
