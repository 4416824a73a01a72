//! Clients of another user, in another PID namespace, or dead but not reaped.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::net::{Shutdown, shutdown};
use rustix::process::geteuid;
use xmem_core::{ClientStats, Error, Publisher, PublisherBuilder, Subscriber};
use xmem_tests::nobody::{NOBODY, run_as_nobody};
use xmem_tests::order::Order;
use xmem_tests::{
    Client, ClientOrder, Opener, OpenerOrder, PATIENCE, Peer, Place, Producer, ProducerOrder,
    is_torture, pattern, process, until, wire,
};

fn publish(publisher: &Publisher, number: u64) {
    let mut frame = publisher.acquire(1000).expect("a slot");
    pattern::fill(&mut frame, number, 0).expect("a record");
    frame.publish().expect("a channel");
}

/// Connects as another user and receives a frame. `None` if this test cannot become another user.
fn as_nobody(
    place: &Place,
    settings: fn(PublisherBuilder) -> PublisherBuilder,
) -> Option<xmem_core::Result<ClientStats>> {
    // Other users may traverse the directory, but not list it.
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
        // The user of the producer could punch holes into it.
        assert!(!client.takes_unsealed);
    }
}

#[test]
fn another_user_gets_the_reason_why_it_is_refused() {
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

/// A peer in a PID namespace of its own. `None` if this test cannot create one.
fn elsewhere<O: Order>(place: &Place, settings: &str) -> Option<Peer<O>> {
    let unshare = || {
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--kill-child"]);
        command
    };
    let possible = unshare().arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tried: PID namespaces are not available");
        return None;
    }
    Some(Peer::start_with(
        Peer::<O>::within(unshare(), settings),
        place,
    ))
}

#[test]
fn a_client_in_another_pid_namespace_receives_and_dies_as_others_do() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let Some(mut client) = elsewhere::<ClientOrder>(&place, "") else {
        return;
    };
    client.connect();
    publish(&publisher, 0);
    client.hold(1);
    assert_eq!(publisher.stats().clients[0].held, 1);
    client.kill();
    until("the client is gone", || publisher.num_clients() == 0);
}

#[test]
fn a_producer_in_another_pid_namespace_serves_and_dies_as_others_do() {
    let place = Place::new();
    let Some(mut producer) = elsewhere::<ProducerOrder>(&place, "") else {
        return;
    };
    let mut client = Subscriber::builder(place.channel("cam0"))
        .connect()
        .expect("a producer");
    producer.publish(1, 1000);
    let frame = client.receive(Some(PATIENCE)).expect("a frame");
    pattern::check(&frame).expect("a whole frame");
    // This process has no PID in the namespace of the producer.
    assert_eq!(producer.stats().number("clients"), 1);
    producer.kill();
    let end = client
        .receive(Some(PATIENCE))
        .expect_err("no frame is published");
    assert!(matches!(end, Error::Disconnected(_)), "{end}");
    // The socket is dead, although the PID of its producer has no meaning here.
    Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
}

/// Each process has its own PIDs, and they share a directory.
#[test]
fn producers_in_two_pid_namespaces_do_not_disturb_each_other() {
    let place = Place::new();
    let Some(mut there) = elsewhere::<OpenerOrder>(&place, "channel=there") else {
        return;
    };
    let mut here = Opener::start(&place, "channel=here");
    let count = if is_torture() { 20_000 } else { 1000 };
    for peer in [&mut there, &mut here] {
        peer.order(OpenerOrder::Cycle(count));
    }
    there.wait_for("cycled");
    here.wait_for("cycled");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn another_users_lock_on_the_directory_keeps_no_producer_from_starting() {
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    // The socket of a dead producer.
    let dead = wire::listen(&place.socket("cam0"));
    shutdown(&dead, Shutdown::Both).expect("a socket");
    drop(dead);
    let lock = run_as_nobody(|| {
        let directory =
            std::fs::File::open(place.path()).expect("other users may open the directory");
        flock(&directory, FlockOperation::LockExclusive)
            .expect("other users may lock the directory");
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
    // The names of the files of the producer itself.
    let names = |number| format!(".xmem-lock-0-{number}-cam0.sock");
    let made = run_as_nobody(|| {
        let lock = |number| {
            let file = std::fs::File::create(place.path().join(names(number)))
                .expect("any user may create files");
            flock(&file, FlockOperation::LockExclusive).expect("the file is new");
            set_permissions(
                place.path().join(names(number)),
                Permissions::from_mode(0o666),
            )
            .expect("the file is its own");
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

/// Because of the umask the socket is closed to others for a moment, until the producer sets its
/// permissions.
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
            // The client stays until the producer has seen it.
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
        let mut producer = Producer::start(&place, "");
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("the sockets of the system");
        let path = place.socket("cam0").display().to_string();
        let listed = sockets.lines().filter(|line| line.ends_with(&path));
        // The listening socket; accepted connections have the same name.
        assert_eq!(
            listed.filter(|line| line.contains(" 00010000 ")).count(),
            1,
            "{sockets}"
        );
        producer.kill();
    }
}

#[test]
fn a_client_that_is_a_zombie_is_gone() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let mut client = Client::connected(&place, "");
    publish(&publisher, 0);
    client.hold(1);
    client.kill_and_leave();
    until("the client is a zombie", || {
        process::state(client.pid()) == Some('Z')
    });
    until("the client is gone", || publisher.num_clients() == 0);
}
