//! The system has run out of a resource. Processes that can work without it continue, and others
//! say what is missing.

use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags};
use xmem_tests::{Peer, Place, process};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

/// All inotify instances that this user may still create: usually 128 at most.
fn all_inotify_instances() -> Vec<OwnedFd> {
    std::iter::from_fn(|| inotify::init(CreateFlags::CLOEXEC).ok())
        .take(100_000)
        .collect()
}

#[test]
fn a_client_waits_for_a_producer_without_inotify() {
    let place = Place::new();
    let mut client = Peer::start(PEER, &place, "client channel=cam0");
    client.wait_for("ready");
    let instances = all_inotify_instances();
    assert!(!instances.is_empty());
    client.order("connect");
    client.ask("progress", "progress");
    process::until_asleep(client.pid(), "worker");
    let mut producer = Peer::start(PEER, &place, "producer channel=cam0");
    producer.wait_for("opened");
    client.wait_for("connected");
    drop(instances);
}
