//! Connections that are over, but for what their peers have not received.

use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::socket::{self, Connection};

/// How often they are looked at: no event tells.
const INTERVAL: Duration = Duration::from_millis(100);

/// Messages that a peer does not receive stay under way after our end is closed, until the peer closes
/// its socket. Their memory counts for this process's control group, and their descriptors count
/// against this user. So the number of such connections has a limit, and this counts them.
#[derive(Debug, Default)]
pub(super) struct Unread {
    connections: Vec<Connection>,
}

impl Unread {
    /// Takes a connection that is over.
    pub(super) fn add(&mut self, connection: Connection) {
        if socket::has_unread(&connection) {
            let _ = socket::shut_down(&connection);
            self.connections.push(connection);
        }
    }

    /// How many there are now. Lets go of those that are read.
    pub(super) fn count(&mut self) -> usize {
        self.connections.retain(|one| socket::has_unread(one));
        self.connections.len()
    }

    /// Until when to look again, where there are some.
    pub(super) fn look(&mut self) -> Option<Deadline> {
        (self.count() > 0).then(|| Deadline::after(Some(INTERVAL)))
    }
}
