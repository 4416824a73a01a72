//! Producers and clients in containers: with processes, mounts, networks and users of their own,
//! and a directory of the host between them. Frames flow, and the end of a peer is noticed. If
//! something is refused, the error names an alternative, and the alternative works.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use rustix::io::Errno;
use xmem_tests::client::Receive;
use xmem_tests::container::Container;
use xmem_tests::control_group::Group;
use xmem_tests::order::Order;
use xmem_tests::pipeline::{CLIENT, PICTURES, Pipeline, State};
use xmem_tests::producer::Publish;
use xmem_tests::seccomp::{self, calls};
use xmem_tests::{Client, ClientOrder, Line, OpenerOrder, Peer, Place, Producer};

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
    failed.says(kind, words);
    assert_eq!(failed.text("retryable"), "false", "{failed}");
}

/// Starts a peer and waits until it takes orders.
fn start<O: Order>(container: &Container, place: &Place, settings: &str) -> Peer<O> {
    let command = Peer::<O>::command(settings);
    Peer::start_with(container.wrap(&command, place.path()), place)
}

/// The answer of an opener, which fails to open.
fn refused_to_open(container: &Container, place: &Place, settings: &str) -> Line {
    start::<OpenerOrder>(container, place, settings).fail_at(OpenerOrder::Open)
}

/// The answer of a client, which fails to connect.
fn refused_to_connect(container: &Container, place: &Place, settings: &str) -> Line {
    start::<ClientOrder>(container, place, settings).fail_at(ClientOrder::Connect)
}

/// Passes frames from a producer to a client, in slots of two sizes.
fn frames_flow(producer: &mut Producer, client: &mut Client) {
    for size in [1000, 3_000_000] {
        for _ in 0..3 {
            producer.ask(Publish::frames(1, size).extra(50000));
            client.receive_all(1);
        }
    }
}

/// Kills a client, and checks that its producer notices.
fn client_ends(producer: &mut Producer, client: &mut Client) {
    client.kill();
    producer.until_clients(0);
}

/// Kills a producer, and checks that its client notices.
fn producer_ends(producer: &mut Producer, client: &mut Client) {
    producer.kill();
    let end = client.fail_at(Receive::frames(1));
    assert_eq!(end.text("kind"), "Disconnected", "{end}");
}

#[test]
fn frames_flow_between_containers_with_users_of_their_own() {
    let (one, other) = (
        Container::new().users_from(ONE).user(USER),
        Container::new().users_from(OTHER).user(USER).read_only(),
    );
    if !one.is_possible() || !other.is_possible() {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    // The client starts first, and waits.
    let mut client: Client = start(&other, &place, "path=/mnt/cam0.sock");
    client.order(ClientOrder::Connect);
    let mut producer: Producer = start(&one, &place, "path=/mnt/cam0.sock perms=666");
    client.wait_for("connected");
    frames_flow(&mut producer, &mut client);
    client_ends(&mut producer, &mut client);
    let mut client: Client = start(&other, &place, "path=/mnt/cam0.sock");
    client.connect();
    client.receive(1);
    // The processes of a container end with its first process.
    producer_ends(&mut producer, &mut client);
    let mut producer: Producer = start(&one, &place, "path=/mnt/cam0.sock perms=666");
    client.connect();
    frames_flow(&mut producer, &mut client);
}

#[test]
fn the_end_of_a_peer_in_another_container_is_noticed_without_its_pidfd() {
    let container = Container::new();
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    let wrap = |command: Command| {
        let mut wrapped = container.wrap(&command, place.path());
        // The other process has no PID in this namespace, so no descriptor can be opened by PID
        // either.
        seccomp::refuse(&mut wrapped, &[calls::PEER_PIDFD], Errno::PERM);
        wrapped
    };
    let path = "path=/mnt/cam0.sock";
    let mut producer = Producer::start_with(wrap(Producer::command(path)), &place);
    let start_client = || {
        let mut client = Client::start_with(wrap(Client::command(path)), &place);
        client.connect();
        client
    };
    for _ in 0..2 {
        let mut client = start_client();
        frames_flow(&mut producer, &mut client);
        client_ends(&mut producer, &mut client);
    }
    let mut client = start_client();
    client.receive(1);
    producer_ends(&mut producer, &mut client);
}

#[test]
fn a_directory_of_the_hosts_root_is_refused_with_what_works_instead() {
    let container = Container::new().user(USER);
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    give(place.path(), 0, 0o755);
    // As a runtime directory.
    let shared = container.clone().prepare(SHARED);
    for refused in [refused_to_open, refused_to_connect] {
        let failed = refused(&shared, &place, "");
        let owners = "belongs to user 0, not to user 1000";
        let words = ["/mnt", owners, "socket path", "perms", "subdirectory"];
        says(&failed, "BadPath", &words);
    }
    // As the directory of a socket.
    let failed = refused_to_open(&container, &place, "path=/mnt/cam0.sock");
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
    let mut producer: Producer = start(&own, &place, "");
    let mut client: Client = start(&own, &place, "");
    client.connect();
    frames_flow(&mut producer, &mut client);
    // A subdirectory and a path, between users.
    give(&below, USER, 0o755);
    let mut producer: Producer = start(&own, &place, "path=/mnt/below/cam1.sock perms=666");
    let other = Container::new().user(USER + 1);
    let mut client: Client = start(&other, &place, "path=/mnt/below/cam1.sock");
    client.connect();
    frames_flow(&mut producer, &mut client);
}

#[test]
fn a_runtime_directory_that_is_open_to_others_is_refused_with_what_works_instead() {
    let container = Container::new().prepare(SHARED);
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    for refused in [refused_to_open, refused_to_connect] {
        let failed = refused(&container, &place, "");
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
    let mut producer: Producer = start(&container, &place, "path=/mnt/cam0.sock");
    let mut client: Client = start(&container, &place, "path=/mnt/cam0.sock");
    client.connect();
    frames_flow(&mut producer, &mut client);
}

#[test]
fn an_error_says_that_an_owner_has_no_number_in_the_container() {
    let container = Container::new().users_from(ONE).prepare(SHARED);
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    for refused in [refused_to_open, refused_to_connect] {
        let failed = refused(&container, &place, "");
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
    if !one.is_possible() || !other.is_possible() {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    // Only the user of the producer may connect.
    let _producer: Producer = start(&one, &place, "path=/mnt/cam0.sock");
    let failed = refused_to_connect(&other, &place, "path=/mnt/cam0.sock");
    says(&failed, "BadPath", &["/mnt/cam0.sock", "perms"]);
    // A directory that other users cannot traverse.
    let below = place.path().join("below");
    fs::create_dir(&below).expect("our directory");
    give(&below, one.user_outside(), 0o700);
    let _producer: Producer = start(&one, &place, "path=/mnt/below/cam1.sock perms=666");
    let failed = refused_to_connect(&other, &place, "path=/mnt/below/cam1.sock");
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
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    let _producer: Producer = start(&container, &place, "path=/mnt/cam0.sock");
    let failed = refused_to_open(&container, &place, "path=/mnt/cam0.sock");
    says(
        &failed,
        "InUse",
        &["/mnt/cam0.sock", "another PID namespace"],
    );
}

#[test]
fn a_producer_needs_a_mount_that_it_can_write_and_clients_do_not() {
    let (writable, read_only) = (Container::new(), Container::new().read_only());
    if !read_only.is_possible() {
        return;
    }
    let place = Place::new();
    let failed = refused_to_open(&read_only, &place, "path=/mnt/cam0.sock");
    says(
        &failed,
        "BadPath",
        &["/mnt/cam0.sock", "Read-only", "writable", "socket path"],
    );
    let mut producer: Producer = start(&writable, &place, "path=/mnt/cam0.sock");
    let mut client: Client = start(&read_only, &place, "path=/mnt/cam0.sock");
    client.connect();
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
    if !container.is_possible() {
        return;
    }
    let mut producer: Producer = start(&container, &place, "path=/mnt/cam0.sock");
    let mut client: Client = start(&container, &place, "path=/mnt/cam0.sock");
    client.connect();
    frames_flow(&mut producer, &mut client);
}

#[test]
fn a_producer_without_proc_says_so_and_a_client_needs_none() {
    let container = Container::new().prepare("mount -t tmpfs none /proc");
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    let failed = refused_to_open(&container, &place, "path=/mnt/cam0.sock");
    says(&failed, "SharedMemory", &["/proc", "mount it"]);
    assert_eq!(place.files(), Vec::<String>::new());
    let mut producer: Producer = start(&Container::new(), &place, "path=/mnt/cam0.sock");
    let mut client: Client = start(&container, &place, "path=/mnt/cam0.sock");
    client.connect();
    frames_flow(&mut producer, &mut client);
    producer_ends(&mut producer, &mut client);
}

#[test]
fn frames_flow_where_no_memory_may_be_executed() {
    // Set for the PID namespace of the container only.
    let container = Container::new().prepare("echo 2 >/proc/sys/vm/memfd_noexec");
    if !container.is_possible() {
        return;
    }
    let place = Place::new();
    let mut producer: Producer = start(&container, &place, "path=/mnt/cam0.sock");
    let mut client: Client = start(&container, &place, "path=/mnt/cam0.sock");
    client.connect();
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
        if !containers.0.is_possible() {
            return;
        }
        let place = Place::new();
        give(place.path(), ONE, 0o755);
        let settings = "path=/mnt/cam0.sock perms=666 slots=2";
        let mut producer: Producer = start(&containers.0, &place, settings);
        let mut client: Client = start(&containers.1, &place, "path=/mnt/cam0.sock leases=1");
        client.connect();
        let failed = producer.fail_at(Publish::frames(1, 40_000_000));
        failed.says("ResourceExhausted", &["control group"]);
        frames_flow(&mut producer, &mut client);
        little.set(500 << 20).expect("the limit may be raised");
        // More than the container of the client has.
        producer.publish(1, 40_000_000);
        client.receive(1);
    }
}

#[test]
fn pictures_flow_between_elements_in_containers() {
    let (one, other) = (
        Container::new().users_from(ONE).user(USER),
        Container::new().users_from(OTHER).read_only(),
    );
    if !one.is_possible() || !other.is_possible() {
        return;
    }
    let place = Place::new();
    give(place.path(), one.user_outside(), 0o755);
    let play = |container: &Container, watch, description: &str| {
        let description = description.replace("channel=cam0", "socket-path=/mnt/cam0.sock");
        let mut pipeline = Pipeline::start_as(&place, &[watch], &description, |command| {
            container.wrap(&command, place.path())
        });
        pipeline.order(State::Playing);
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
