//! The system has run out of a resource. Processes that can work without it continue, and others
//! say what is missing.

use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags};
use xmem_tests::{Client, ClientOrder, Place, Producer, process};

/// All inotify instances that this user may still create: usually 128 at most.
fn all_inotify_instances() -> Vec<OwnedFd> {
    std::iter::from_fn(|| inotify::init(CreateFlags::CLOEXEC).ok())
        .take(100_000)
        .collect()
}

#[test]
fn a_client_waits_for_a_producer_without_inotify() {
    let place = Place::new();
    let mut client = Client::start(&place, "");
    let instances = all_inotify_instances();
    assert!(!instances.is_empty());
    client.order(ClientOrder::Connect);
    client.progress();
    process::until_asleep(client.pid(), "worker");
    let _producer = Producer::start(&place, "");
    client.wait_for("connected");
    drop(instances);
}
