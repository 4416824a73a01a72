//! The stage of one experiment: a directory for the socket, the processes, and the files that they
//! leave behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xmem_tests::roles::{Child, Installation, Result};

use crate::actor::{Actor, PATIENCE};
use crate::memory;
use crate::transport::Transport;

/// A socket path for the producers and clients of one transport.
pub struct Stage<'a> {
    installation: &'a Installation,
    /// The transport under test.
    pub transport: Transport,
    directory: TempDir,
    producers: Vec<u32>,
    /// The elements before the sink.
    upstream: Option<&'static str>,
    /// The names that were in `/dev/shm` before.
    in_shm: BTreeSet<String>,
}

impl<'a> Stage<'a> {
    /// Creates an empty stage.
    pub fn new(installation: &'a Installation, transport: Transport) -> Result<Stage<'a>> {
        let directory = tempfile::Builder::new()
            .prefix("stage-")
            .tempdir_in(installation.directory())?;
        Ok(Stage {
            installation,
            transport,
            directory,
            producers: Vec::new(),
            upstream: None,
            in_shm: memory::names_in_shm(),
        })
    }

    /// The path on which producers listen.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("X")
    }

    /// Producers that are started after this call have `element` before their sink.
    pub fn put_before_the_sink(&mut self, element: &'static str) {
        self.upstream = Some(element);
    }

    /// Starts a producer.
    pub fn start_producer(&mut self, settings: &str) -> Result<Actor> {
        let mut sink = self.transport.sink(&self.socket(), settings);
        if let Some(element) = self.upstream {
            sink = format!("{element} ! {sink}");
        }
        let child = Child::spawn("a producer", self.installation.role(&["producer", &sink]))?;
        self.producers.push(child.pid());
        Ok(Actor::new(child))
    }

    /// Starts a client.
    pub fn start_client(&self, settings: &str) -> Result<Actor> {
        let source = self.transport.source(&self.socket(), settings);
        let command = self.installation.role(&["client", &source, ""]);
        Ok(Actor::new(Child::spawn("a client", command)?))
    }

    /// Starts a client that can be ordered to attack.
    pub fn start_attacker(&self) -> Result<Actor> {
        let source = self.transport.source(&self.socket(), "");
        let socket = self.socket();
        let xmem = match self.transport {
            Transport::Xmem => socket.to_string_lossy(),
            Transport::Shm | Transport::Unixfd => "".into(),
        };
        let command = self.installation.role(&["client", &source, &xmem]);
        Ok(Actor::new(Child::spawn("an attacker", command)?))
    }

    /// Starts a producer with its default settings and waits until it produces.
    pub fn producer(&mut self) -> Result<Actor> {
        let mut producer = self.start_producer("")?;
        let producing = producer.told("producing", PATIENCE)?;
        producing.ok_or("a producer does not start on an empty stage")?;
        Ok(producer)
    }

    /// Starts a client with its default settings and waits until it receives.
    pub fn client(&self) -> Result<Actor> {
        let client = self.start_client("")?;
        until_receiving(client)
    }

    /// The names of the files in the directory of the socket.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path())
            .into_iter()
            .flatten();
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// What is new in `/dev/shm` since the stage was created: number of files, and bytes.
    pub fn left_in_shm(&self) -> (usize, u64) {
        let left = memory::left_in_shm(&self.in_shm, &self.producers);
        (left.len(), left.iter().map(|(_, used)| used).sum())
    }

    /// Removes the socket, as a user would who knows that no process listens on it.
    pub fn remove_socket(&self) {
        // The socket may not exist.
        let _ = std::fs::remove_file(self.socket());
    }
}

/// Waits until a client receives.
pub fn until_receiving(mut client: Actor) -> Result<Actor> {
    let receiving = client.told("receiving", PATIENCE)?;
    receiving.ok_or("a client does not receive although a producer exists")?;
    Ok(client)
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Killed producers of shm leave their memory in `/dev/shm`. Other files there belong to
        // other programs.
        let left = memory::left_in_shm(&self.in_shm, &self.producers);
        let ours = left.iter().filter(|(name, _)| name.starts_with("shmpipe."));
        for (name, _) in ours {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    }
}
