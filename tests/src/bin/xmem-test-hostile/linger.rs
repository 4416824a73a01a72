//! Descriptors whose close does not end in the receiving process.

use std::path::PathBuf;
use std::time::Duration;

use xmem_tests::Line;
use xmem_tests::hostile::lingering::Lingering;
use xmem_tests::wire::{self, Connection};

use crate::count;

/// How many of them are kept, because a process may have only a limited number of descriptors.
const KEPT: usize = 200;

/// Passes such a descriptor with a Hello, and another as a client, over and over. A descriptor that
/// the producer receives counts as an effect.
pub(crate) fn start(settings: &Line) {
    let socket = PathBuf::from(settings.text("socket"));
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while kept.len() < KEPT {
            let stranger = Connection::open(&socket);
            kept.extend(pass(stranger, &wire::hello(wire::VERSION, 1)));
            let client = Connection::open(&socket);
            let welcome = client.greet(wire::VERSION, 1);
            if welcome.kind == wire::WELCOME {
                client.join(&welcome.fds[1]);
                kept.extend(pass(client, &wire::message(wire::UPSTREAM, b"said")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // While this process exists, no close of these descriptors ends.
        loop {
            std::thread::park();
        }
    });
}

/// Sends a message with such a descriptor. Returns the connection and the descriptor, which the
/// caller has to keep; `None` if the message could not be sent.
fn pass(to: Connection, message: &[u8]) -> Option<(Connection, Lingering)> {
    let mut lingering = Lingering::new();
    let passed = lingering.pass(&to, message, 1).is_ok();
    count(passed);
    passed.then_some((to, lingering))
}
