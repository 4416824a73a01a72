//! Producers and clients in containers: with processes, mounts, networks and users of their own,
//! and a directory of the host between them. Frames flow, and the end of a peer is noticed. If
//! something is refused, the error names an alternative, and the alternative works.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use rustix::io::Errno;
use xmem_tests::container::Container;
use xmem_tests::control_group::Group;
use xmem_tests::pipeline::{CLIENT, PICTURES, Pipeline};
use xmem_tests::seccomp::{self, calls};
use xmem_tests::{Line, Peer, Place, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

/// Users of the host that are root in two containers.
const ONE: u32 = 100_000;
const OTHER: u32 = 200_000;
/// A user that is not root, as in many images.
const USER: u32 = 1000;

/// Makes the directory that all containers share the runtime directory.
const SHARED: &str = "export XMEM_RUNTIME_DIR=/mnt";

/// Gives a directory to a user.
fn give(path: &std::path::Path, user: u32, mode: u32) {
    chown(path, Some(user), Some(user)).expect("root may");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may");
}

fn says(failed: &Line, kind: &str, words: &[&str]) {
    assert_eq!(failed.get("kind"), Some(kind), "{failed}");
    assert_eq!(failed.text("retryable"), "false", "{failed}");
    for word in words {
        assert!(failed.text("text").contains(word), "{word:?}: {failed}");
    }
}

/// Starts a peer and waits until it is ready.
fn start(container: &Container, place: &Place, arguments: &str) -> Peer {
    let mut peer = container.start(PEER, place, arguments);
    let greeting = if arguments.starts_with("producer") {
        "opened"
    } else {
        "ready"
    };
    peer.wait_for(greeting);
    peer
}

/// The answer of a peer to an order to open or connect.
fn refused(container: &Container, place: &Place, arguments: &str) -> Line {
    let mut peer = start(container, place, arguments);
    let order = if arguments.starts_with("opener") {
        "open"
    } else {
        "connect"
    };
    peer.order(order);
    peer.next_line()
}

/// Passes frames from a producer to a client, in slots of two sizes.
fn frames_flow(producer: &mut Peer, client: &mut Peer) {
    for size in [1000, 3_000_000] {
        let publish = format!("publish count=1 size={size} extra=50000");
        for _ in 0..3 {
            producer.ask(&publish, "published");
            let received = client.ask("receive count=1", "received");
            assert_eq!(received.number("missed"), 0);
        }
    }
}

/// Kills a client, and checks that its producer notices.
fn client_ends(producer: &mut Peer, client: &mut Peer) {
    client.kill();
    until("the client is gone", || {
        producer.ask("stats", "stats").number("clients") == 0
    });
}

/// Kills a producer, and checks that its client notices.
fn producer_ends(producer: &mut Peer, client: &mut Peer) {
    producer.kill();
    client.order("receive count=1");
    assert_eq!(client.next_line().word, "receiving");
    let end = client.next_line();
    assert_eq!(end.get("kind"), Some("Disconnected"), "{end}");
}

#[test]
fn frames_flow_between_containers_with_users_of_their_own() {
    let (one, other) = (
        Container::new().users_from(ONE).user(USER),
        Container::new().users_from(OTHER).user(USER).read_only(),
    );
    if !one.is_possible(PEER) || !other.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    // The client starts first, and waits.
    let mut client = start(&other, &place, "client path=/mnt/cam0.sock");
    client.order("connect");
    let mut producer = start(&one, &place, "producer path=/mnt/cam0.sock perms=666");
    client.wait_for("connected");
    frames_flow(&mut producer, &mut client);
    client_ends(&mut producer, &mut client);
    let mut client = start(&other, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    client.ask("receive count=1", "received");
    // The processes of a container end with its first process.
    producer_ends(&mut producer, &mut client);
    let mut producer = start(&one, &place, "producer path=/mnt/cam0.sock perms=666");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn the_end_of_a_peer_in_another_container_is_noticed_without_its_pidfd() {
    let container = Container::new();
    if !container.is_possible(PEER) {
        return;
    }
    let start = |place: &Place, arguments: &str| {
        let mut command = Command::new(PEER);
        command.args(arguments.split_whitespace());
        let mut wrapped = container.wrap(&command, place.path());
        // The other process has no PID in this namespace, so no descriptor can be opened by PID
        // either.
        seccomp::refuse(&mut wrapped, &[calls::PEER_PIDFD], Errno::PERM);
        Peer::spawn(wrapped, place, arguments)
    };
    let place = Place::new();
    let mut producer = start(&place, "producer path=/mnt/cam0.sock");
    producer.wait_for("opened");
    for _ in 0..2 {
        let mut client = start(&place, "client path=/mnt/cam0.sock");
        client.wait_for("ready");
        client.ask("connect", "connected");
        frames_flow(&mut producer, &mut client);
        client_ends(&mut producer, &mut client);
    }
    let mut client = start(&place, "client path=/mnt/cam0.sock");
    client.wait_for("ready");
    client.ask("connect", "connected");
    client.ask("receive count=1", "received");
    producer_ends(&mut producer, &mut client);
}

#[test]
fn a_directory_of_the_hosts_root_is_refused_with_what_works_instead() {
    let container = Container::new().user(USER);
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    give(place.path(), 0, 0o755);
    // As a runtime directory.
    let shared = container.clone().prepare(SHARED);
    for role in ["opener", "client"] {
        let failed = refused(&shared, &place, &format!("{role} channel=cam0"));
        let owners = "belongs to user 0, not to user 1000";
        let words = ["/mnt", owners, "socket path", "perms", "subdirectory"];
        says(&failed, "BadPath", &words);
    }
    // As the directory of a socket.
    let failed = refused(&container, &place, "opener path=/mnt/cam0.sock");
    let words = [
        "/mnt/cam0.sock",
        "Permission denied",
        "subdirectory",
        "socket path",
    ];
    says(&failed, "BadPath", &words);
    // A subdirectory, as the runtime directory of one user.
    let below = place.path().join("below");
    fs::create_dir(&below).expect("our directory");
    give(&below, USER, 0o700);
    let own = container.prepare("export XMEM_RUNTIME_DIR=/mnt/below");
    let mut producer = start(&own, &place, "producer channel=cam0");
    let mut client = start(&own, &place, "client channel=cam0");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
    // A subdirectory and a path, between users.
    give(&below, USER, 0o755);
    let mut producer = start(&own, &place, "producer path=/mnt/below/cam1.sock perms=666");
    let other = Container::new().user(USER + 1);
    let mut client = start(&other, &place, "client path=/mnt/below/cam1.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn a_runtime_directory_that_is_open_to_others_is_refused_with_what_works_instead() {
    let container = Container::new().prepare(SHARED);
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    for role in ["opener", "client"] {
        let failed = refused(&container, &place, &format!("{role} channel=cam0"));
        let open = "open to other users (mode 755)";
        let words = [
            "/mnt",
            open,
            "chmod 700",
            "subdirectory",
            "socket path",
            "perms",
        ];
        says(&failed, "BadPath", &words);
    }
    let mut producer = start(&container, &place, "producer path=/mnt/cam0.sock");
    let mut client = start(&container, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn an_error_says_that_an_owner_has_no_number_in_the_container() {
    let container = Container::new().users_from(ONE).prepare(SHARED);
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    for role in ["opener", "client"] {
        let failed = refused(&container, &place, &format!("{role} channel=cam0"));
        let words = ["/mnt", "65534", "user namespace", "socket path", "perms"];
        says(&failed, "BadPath", &words);
    }
}

#[test]
fn a_client_of_another_user_gets_the_reason_why_it_is_refused() {
    let (one, other) = (
        Container::new().users_from(ONE),
        Container::new().users_from(OTHER),
    );
    if !one.is_possible(PEER) || !other.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    // Only the user of the producer may connect.
    let _producer = start(&one, &place, "producer path=/mnt/cam0.sock");
    let failed = refused(&other, &place, "client path=/mnt/cam0.sock");
    says(&failed, "BadPath", &["/mnt/cam0.sock", "perms"]);
    // A directory that other users cannot traverse.
    let below = place.path().join("below");
    fs::create_dir(&below).expect("our directory");
    give(&below, one.user_outside(), 0o700);
    let _producer = start(&one, &place, "producer path=/mnt/below/cam1.sock perms=666");
    let failed = refused(&other, &place, "client path=/mnt/below/cam1.sock");
    says(
        &failed,
        "BadPath",
        &[
            "/mnt/below/cam1.sock",
            "permission denied",
            "let this user pass",
        ],
    );
}

#[test]
fn an_error_says_that_a_producer_runs_in_another_container() {
    let container = Container::new();
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    let _producer = start(&container, &place, "producer path=/mnt/cam0.sock");
    let failed = refused(&container, &place, "opener path=/mnt/cam0.sock");
    says(
        &failed,
        "InUse",
        &["/mnt/cam0.sock", "another PID namespace"],
    );
}

#[test]
fn a_producer_needs_a_mount_that_it_can_write_and_clients_do_not() {
    let (writable, read_only) = (Container::new(), Container::new().read_only());
    if !read_only.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    let failed = refused(&read_only, &place, "opener path=/mnt/cam0.sock");
    says(
        &failed,
        "BadPath",
        &["/mnt/cam0.sock", "Read-only", "writable", "socket path"],
    );
    let mut producer = start(&writable, &place, "producer path=/mnt/cam0.sock");
    let mut client = start(&read_only, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn frames_flow_where_nothing_but_the_shared_directory_can_be_written() {
    // As with `--read-only`.
    let container = Container::new().prepare(
        "mount --bind / /; mount -o remount,bind,ro /\n\
         for name in /dev/shm /tmp /run; do mount -t tmpfs -o ro none $name || true; done",
    );
    let place = Place::new();
    // The program of the peer may be in one of these directories.
    if !container.is_possible(PEER) {
        return;
    }
    let mut producer = start(&container, &place, "producer path=/mnt/cam0.sock");
    let mut client = start(&container, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn a_producer_without_proc_says_so_and_a_client_needs_none() {
    let container = Container::new().prepare("mount -t tmpfs none /proc");
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    let failed = refused(&container, &place, "opener path=/mnt/cam0.sock");
    says(&failed, "SharedMemory", &["/proc", "mount it"]);
    assert_eq!(place.files(), Vec::<String>::new());
    let mut producer = start(&Container::new(), &place, "producer path=/mnt/cam0.sock");
    let mut client = start(&container, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
    producer_ends(&mut producer, &mut client);
}

#[test]
fn frames_flow_where_no_memory_may_be_executed() {
    // Set for the PID namespace of the container only.
    let container = Container::new().prepare("echo 2 >/proc/sys/vm/memfd_noexec");
    if !container.is_possible(PEER) {
        return;
    }
    let place = Place::new();
    let mut producer = start(&container, &place, "producer path=/mnt/cam0.sock");
    let mut client = start(&container, &place, "client path=/mnt/cam0.sock");
    client.ask("connect", "connected");
    frames_flow(&mut producer, &mut client);
}

#[test]
fn memory_that_a_container_does_not_have_is_an_error_and_its_clients_pay_for_none() {
    for namespace in [false, true] {
        let (Some(little), Some(less)) = (Group::new(50 << 20), Group::new(20 << 20)) else {
            return;
        };
        let containers = (
            Container::new().users_from(ONE).group(&little, namespace),
            Container::new().users_from(OTHER).group(&less, namespace),
        );
        if !containers.0.is_possible(PEER) {
            return;
        }
        let place = Place::new();
        give(place.path(), ONE, 0o755);
        let mut producer = start(
            &containers.0,
            &place,
            "producer path=/mnt/cam0.sock perms=666 slots=2",
        );
        let mut client = start(&containers.1, &place, "client path=/mnt/cam0.sock leases=1");
        client.ask("connect", "connected");
        producer.order("publish count=1 size=40000000");
        let failed = producer.next_line();
        assert_eq!(failed.get("kind"), Some("ResourceExhausted"), "{failed}");
        assert!(failed.text("text").contains("control group"), "{failed}");
        frames_flow(&mut producer, &mut client);
        little.set(500 << 20).expect("the limit may be raised");
        // More than the container of the client has.
        producer.ask("publish count=1 size=40000000", "published");
        client.ask("receive count=1", "received");
    }
}

#[test]
fn pictures_flow_between_elements_in_containers() {
    let (one, other) = (
        Container::new().users_from(ONE).user(USER),
        Container::new().users_from(OTHER).read_only(),
    );
    let program = std::path::Path::new(PEER).with_file_name("xmem-test-pipeline");
    let program = program.to_string_lossy();
    if !one.is_possible(&program) || !other.is_possible(&program) {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    let play = |container: &Container, watch, description: &str| {
        let description = description.replace("channel=cam0", "socket-path=/mnt/cam0.sock");
        let mut pipeline = Pipeline::start_as(&place, &[watch], &description, |command| {
            container.wrap(&command, place.path())
        });
        pipeline.order("state to=playing");
        pipeline
    };
    // The client waits, however long the producer takes to start.
    let client = CLIENT.replace(
        "channel",
        "connection-timeout=-1 on-disconnect=error channel",
    );
    let mut client = play(&other, "report out.sink", &client);
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0 perms=0666");
    let mut producer = play(&one, "report sink.sink", &producer);
    client.until_buffers("out.sink", 20);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    producer.kill();
    let error = client.until_message("error");
    assert!(
        error.text("text").contains("the producer is gone"),
        "{error}"
    );
}
