//! Clients of another kind: another user's, in another PID namespace, dead and not buried.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_uid};
use xmem_core::{ClientStats, Error, Publisher, PublisherBuilder, Subscriber};
use xmem_tests::{PATIENCE, Peer, Place, pattern, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");
/// "nobody", who has no rights.
const NOBODY: u32 = 65534;

fn publish(publisher: &Publisher, number: u64) {
    let mut frame = publisher.acquire(1000).expect("a slot");
    pattern::fill(&mut frame, number, 0).expect("a record");
    frame.publish().expect("a channel");
}

/// Has another user connect, and receive a frame. `None` where this test can't become one.
fn as_nobody(
    place: &Place,
    settings: fn(PublisherBuilder) -> PublisherBuilder,
) -> Option<xmem_core::Result<ClientStats>> {
    if !geteuid().is_root() {
        eprintln!("not tried: only root can become another user");
        return None;
    }
    // Others may pass, not look.
    set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
    let publisher = settings(Publisher::builder(place.channel("cam0")))
        .open()
        .expect("a channel");
    publish(&publisher, 0);
    let client = || {
        // The system calls change this thread alone, and with it those that it starts.
        set_thread_gid(Gid::from_raw(NOBODY)).expect("root may");
        set_thread_uid(Uid::from_raw(NOBODY)).expect("root may");
        let mut subscriber = Subscriber::builder(place.channel("cam0")).connect()?;
        let frame = subscriber.receive(Some(PATIENCE))?;
        pattern::check(&frame).expect("a whole frame");
        Ok(publisher.stats().clients.remove(0))
    };
    let tried = std::thread::scope(|scope| scope.spawn(client).join());
    Some(tried.expect("no panic"))
}

#[test]
fn another_user_is_let_in_where_perms_allow_it() {
    let place = Place::new();
    if let Some(client) = as_nobody(&place, |builder| builder.perms(0o666)) {
        let client = client.expect("a frame");
        assert_eq!(client.uid, NOBODY);
        // The producer's user could punch holes into it.
        assert!(!client.takes_unsealed);
    }
}

#[test]
fn another_user_is_told_what_keeps_it_out() {
    let place = Place::new();
    if let Some(refused) = as_nobody(&place, |builder| builder) {
        let error = refused.expect_err("perms are 0600");
        assert!(matches!(error, Error::BadPath { .. }), "{error:?}");
        assert!(!error.is_retryable());
        for word in ["cam0.sock", "permission denied", "perms"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

/// The peer in a PID namespace of its own. `None` where this test can't make one.
fn elsewhere(place: &Place, arguments: &str) -> Option<Peer> {
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--kill-child", program]);
        command
    };
    if !unshare("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("not tried: there are no PID namespaces to be had");
        return None;
    }
    let mut command = unshare(PEER);
    command.args(arguments.split_whitespace());
    Some(Peer::spawn(command, place, arguments))
}

#[test]
fn a_client_in_another_pid_namespace_receives_and_dies_as_others_do() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let Some(mut client) = elsewhere(&place, "client channel=cam0") else {
        return;
    };
    client.wait_for("ready");
    client.ask("connect", "connected");
    publish(&publisher, 0);
    client.ask("hold count=1", "holding");
    assert_eq!(publisher.stats().clients[0].held, 1);
    client.kill();
    until("the client is gone", || publisher.num_clients() == 0);
}

#[test]
fn a_producer_in_another_pid_namespace_serves_and_dies_as_others_do() {
    let place = Place::new();
    let Some(mut producer) = elsewhere(&place, "producer channel=cam0") else {
        return;
    };
    producer.wait_for("opened");
    let mut client = Subscriber::builder(place.channel("cam0"))
        .connect()
        .expect("a producer");
    producer.ask("publish count=1 size=1000", "published");
    let frame = client.receive(Some(PATIENCE)).expect("a frame");
    pattern::check(&frame).expect("a whole frame");
    // To the producer, this process has no number.
    assert_eq!(producer.ask("stats", "stats").number("clients"), 1);
    producer.kill();
    let end = client
        .receive(Some(PATIENCE))
        .expect_err("nobody publishes");
    assert!(matches!(end, Error::Disconnected(_)), "{end}");
    // Its socket is dead, though its number means nothing here.
    Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
}

#[test]
fn a_client_that_nobody_has_buried_is_gone() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let mut client = Peer::start(PEER, &place, "client channel=cam0");
    client.wait_for("ready");
    client.ask("connect", "connected");
    publish(&publisher, 0);
    client.ask("hold count=1", "holding");
    client.kill_and_leave();
    until("it is a zombie", || {
        process::state(client.pid()) == Some('Z')
    });
    until("the client is gone", || publisher.num_clients() == 0);
}
