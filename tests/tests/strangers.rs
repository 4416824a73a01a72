//! Clients of another kind: another user's, in another PID namespace, dead and not buried.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::net::{Shutdown, shutdown};
use rustix::process::geteuid;
use xmem_core::{ClientStats, Error, Publisher, PublisherBuilder, Subscriber};
use xmem_tests::nobody::{NOBODY, run_as_nobody};
use xmem_tests::{PATIENCE, Peer, Place, is_torture, pattern, process, until, wire};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

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
    // Others may pass, not look.
    set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
    let publisher = settings(Publisher::builder(place.channel("cam0")))
        .open()
        .expect("a channel");
    publish(&publisher, 0);
    run_as_nobody(|| {
        let mut subscriber = Subscriber::builder(place.channel("cam0")).connect()?;
        let frame = subscriber.receive(Some(PATIENCE))?;
        pattern::check(&frame).expect("a whole frame");
        Ok(publisher.stats().clients.remove(0))
    })
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

/// Each has its own process ids, and they share a directory.
#[test]
fn producers_in_two_pid_namespaces_do_not_disturb_each_other() {
    let place = Place::new();
    let Some(mut there) = elsewhere(&place, "opener channel=there") else {
        return;
    };
    let mut here = Peer::start(PEER, &place, "opener channel=here");
    let count = if is_torture() { 20_000 } else { 1000 };
    let order = format!("cycle count={count}");
    for peer in [&mut there, &mut here] {
        peer.wait_for("ready");
        peer.order(&order);
    }
    there.wait_for("cycled");
    here.wait_for("cycled");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn another_users_lock_on_the_directory_keeps_no_producer_from_starting() {
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    // Of a producer that is dead.
    let dead = wire::listen(&place.socket("cam0"));
    shutdown(&dead, Shutdown::Both).expect("a socket");
    drop(dead);
    let lock = run_as_nobody(|| {
        let directory = std::fs::File::open(place.path()).expect("others may look");
        flock(&directory, FlockOperation::LockExclusive).expect("others may lock");
        directory
    });
    let Some(_lock) = lock else { return };
    Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
}

#[test]
fn another_users_files_beside_its_path_keep_no_producer_from_starting() {
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o1777)).expect("our directory");
    let dead = wire::listen(&place.socket("cam0"));
    shutdown(&dead, Shutdown::Both).expect("a socket");
    drop(dead);
    // What its own files are called.
    let names = |number| format!(".xmem-lock-0-{number}-cam0.sock");
    let made = run_as_nobody(|| {
        let lock = |number| {
            let file = std::fs::File::create(place.path().join(names(number))).expect("all may");
            flock(&file, FlockOperation::LockExclusive).expect("it is new");
            set_permissions(
                place.path().join(names(number)),
                Permissions::from_mode(0o666),
            )
            .expect("it is its own");
            file
        };
        (0..4).map(lock).collect::<Vec<_>>()
    });
    let Some(_locks) = made else { return };
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    drop(publisher);
    assert_eq!(place.files(), (0..4).map(names).collect::<Vec<_>>());
}

/// The umask keeps its file closed for a moment, until the producer says what it wanted.
#[test]
fn another_user_waits_for_a_socket_that_is_being_made() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    let path = place.socket("cam0");
    let making = wire::listen(&path);
    set_permissions(&path, Permissions::from_mode(0o1644)).expect("our socket");
    let connected = std::thread::scope(|scope| {
        scope.spawn(|| {
            process::until_asleep(std::process::id(), "another user");
            std::fs::remove_file(&path).expect("our socket");
            let builder = Publisher::builder(place.channel("cam0")).perms(0o666);
            let publisher = builder.open().expect("a channel");
            let come = publisher.wait_for_clients(1, Some(PATIENCE));
            come.expect("a client");
        });
        run_as_nobody(|| {
            rustix::thread::set_name(c"another user").expect("a name");
            let builder = Subscriber::builder(place.channel("cam0"));
            // It stays until the producer has seen it.
            builder.connect_timeout(Some(PATIENCE)).connect()
        })
    });
    drop(making);
    if let Some(connected) = connected {
        connected.expect("a connection");
    }
}

#[test]
fn the_system_lists_a_channel_under_its_path() {
    let place = Place::new();
    // At first, and after a producer that was killed.
    for _ in 0..2 {
        let mut producer = Peer::start(PEER, &place, "producer channel=cam0");
        producer.wait_for("opened");
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("the sockets of the system");
        let path = place.socket("cam0").display().to_string();
        let listed = sockets.lines().filter(|line| line.ends_with(&path));
        // That listens; what is accepted has its name, too.
        assert_eq!(
            listed.filter(|line| line.contains(" 00010000 ")).count(),
            1,
            "{sockets}"
        );
        producer.kill();
    }
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
