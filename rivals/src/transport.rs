//! The pairs of elements that are compared.

use std::fmt;
use std::path::Path;

use rustix::net::SocketType;
use xmem_tests::roles::Result;

use crate::frame::CAPS;

/// A pair of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// `xmemsink` and `xmemsrc`.
    Xmem,
    /// `shmsink` and `shmsrc`, of gst-plugins-bad.
    Shm,
    /// `unixfdsink` and `unixfdsrc`, of gst-plugins-bad since 1.24.
    Unixfd,
}

impl Transport {
    /// All transports, in the order of the table.
    pub const ALL: [Transport; 3] = [Transport::Xmem, Transport::Shm, Transport::Unixfd];

    /// The element names: sink, source.
    pub fn elements(self) -> [&'static str; 2] {
        match self {
            Transport::Xmem => ["xmemsink", "xmemsrc"],
            Transport::Shm => ["shmsink", "shmsrc"],
            Transport::Unixfd => ["unixfdsink", "unixfdsrc"],
        }
    }

    /// What to do if its elements are missing.
    pub fn needs(self) -> &'static str {
        match self {
            Transport::Xmem => "build its plugin, or set GST_PLUGIN_PATH",
            Transport::Shm => "needs gst-plugins-bad",
            Transport::Unixfd => "needs gst-plugins-bad, GStreamer 1.24 or newer",
        }
    }

    /// The transport that a command line names.
    pub fn parse(name: &str) -> Result<Transport> {
        let found = Transport::ALL.into_iter();
        let mut found = found.filter(|transport| transport.to_string() == name);
        found
            .next()
            .ok_or_else(|| format!("unknown transport {name:?}; known: xmem, shm, unixfd").into())
    }

    /// The sink of the producer, as part of a pipeline description, with `settings` in addition to
    /// the defaults.
    pub fn sink(self, socket: &Path, settings: &str) -> String {
        let [sink, _] = self.elements();
        let socket = socket.display();
        format!("{sink} name=sink socket-path=\"{socket}\" {settings}")
    }

    /// The source of the clients, likewise. shmsrc does not know the caps, so they are set behind
    /// it.
    pub fn source(self, socket: &Path, settings: &str) -> String {
        let [_, source] = self.elements();
        let socket = socket.display();
        let source = format!("{source} name=source socket-path=\"{socket}\" {settings}");
        match self {
            Transport::Shm => format!("{source} ! {CAPS}"),
            Transport::Xmem | Transport::Unixfd => source,
        }
    }

    /// The settings with which the source waits for its producer and reconnects to the next one, as
    /// far as it can.
    pub fn persistent(self) -> &'static str {
        match self {
            Transport::Xmem => "on-disconnect=reconnect connection-timeout=-1",
            Transport::Shm | Transport::Unixfd => "",
        }
    }

    /// The settings with which the sink runs without clients, if it does not by default.
    pub fn unattended(self) -> Option<&'static str> {
        match self {
            Transport::Shm => Some("wait-for-connection=false"),
            Transport::Xmem | Transport::Unixfd => None,
        }
    }

    /// The element before the sink that keeps upstream's pool from holding the memory of the sink,
    /// if that matters.
    pub fn without_pool(self) -> Option<&'static str> {
        match self {
            Transport::Shm => Some("identity drop-allocation=true"),
            Transport::Xmem | Transport::Unixfd => None,
        }
    }

    /// The type of its control socket.
    pub fn socket_type(self) -> SocketType {
        match self {
            Transport::Xmem => SocketType::SEQPACKET,
            Transport::Shm | Transport::Unixfd => SocketType::STREAM,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Xmem => "xmem",
            Transport::Shm => "shm",
            Transport::Unixfd => "unixfd",
        })
    }
}
