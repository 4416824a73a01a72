//! Producers and clients in containers of podman: `make test-containers`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use xmem_tests::pipeline::{CLIENT, PICTURES, Pipeline};
use xmem_tests::podman::{Podman, Running};
use xmem_tests::{Line, Peer, Place, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

/// Starts a peer and waits until it is ready.
fn start(podman: &Podman, options: &[&str], place: &Place, arguments: &str) -> (Peer, Running) {
    let (mut peer, running) = podman.start(PEER, options, place, arguments);
    let greeting = if arguments.starts_with("producer") {
        "opened"
    } else {
        "ready"
    };
    peer.wait_for(greeting);
    (peer, running)
}

/// Passes frames from a producer in one container to a client in another, and ends each.
fn frames_flow(podman: &Podman, place: &Place, producer: &[&str], client: &[&str]) {
    let (mut producer, running) = start(
        podman,
        producer,
        place,
        "producer path=/mnt/cam0.sock perms=666",
    );
    let receive = |producer: &mut Peer, client: &mut Peer| {
        for size in [1000, 3_000_000] {
            producer.ask(&format!("publish count=1 size={size}"), "published");
            client.ask("receive count=1", "received");
        }
    };
    let (mut first, first_running) = start(podman, client, place, "client path=/mnt/cam0.sock");
    first.ask("connect", "connected");
    receive(&mut producer, &mut first);
    first_running.kill();
    until("the client is gone", || {
        producer.ask("stats", "stats").number("clients") == 0
    });
    let (mut second, _second_running) = start(podman, client, place, "client path=/mnt/cam0.sock");
    second.ask("connect", "connected");
    second.ask("receive count=1", "received");
    running.kill();
    second.order("receive count=1");
    assert_eq!(second.next_line().word, "receiving");
    let end = second.next_line();
    assert_eq!(end.get("kind"), Some("Disconnected"), "{end}");
}

#[test]
fn frames_flow_between_containers_of_root() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    frames_flow(&podman, &Place::new(), &[], &[]);
}

#[test]
fn frames_flow_between_containers_of_other_users() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("our directory");
    let read_only = format!("--volume={}:/mnt:ro", place.path().display());
    frames_flow(
        &podman,
        &place,
        &["--user=1000:1000"],
        &["--user=1001:1001", "--read-only", &read_only],
    );
}

#[test]
fn frames_flow_between_containers_with_users_of_their_own() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("our directory");
    let users_from = |first: u32| {
        let map = format!("0:{first}:65536");
        [format!("--uidmap={map}"), format!("--gidmap={map}")]
    };
    let (one, other) = (users_from(100_000), users_from(200_000));
    let [one, other] = [&one, &other].map(|options| options.each_ref().map(String::as_str));
    frames_flow(&podman, &place, &one, &other);
}

/// The error of a producer or a client if the directory belongs to another user.
#[test]
fn a_directory_that_is_refused_is_named_with_what_works_instead() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    let refused = |options: &[&str], arguments: &str, order: &str| -> Line {
        let (mut peer, _running) = start(&podman, options, &place, arguments);
        peer.order(order);
        peer.next_line()
    };
    for (arguments, order, words) in [
        (
            "opener channel=cam0",
            "open",
            ["belongs to user", "socket path", "perms"],
        ),
        (
            "client channel=cam0",
            "connect",
            ["belongs to user", "socket path", "perms"],
        ),
        (
            "opener path=/mnt/cam0.sock",
            "open",
            ["Permission denied", "subdirectory", "socket path"],
        ),
    ] {
        let options = ["--user=1000:1000", "--env=XMEM_RUNTIME_DIR=/mnt"];
        let failed = refused(&options, arguments, order);
        for word in words {
            assert!(failed.text("text").contains(word), "{word:?}: {failed}");
        }
    }
}

/// Podman 5.2 to 5.8 and CRI-O 1.31 and later answer so by default.
#[test]
fn frames_flow_where_the_profile_refuses_futex_waitv() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    for errno in [1, 38] {
        let place = Place::new();
        let profile = place.path().join("profile.json");
        let rule = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["futex_waitv"],
                "action": "SCMP_ACT_ERRNO", "errnoRet": {errno}}}]}}"#
        );
        fs::write(&profile, rule).expect("our directory");
        let option = format!("--security-opt=seccomp={}", profile.display());
        frames_flow(&podman, &place, &[&option], &[&option]);
    }
}

#[test]
fn memory_that_a_container_does_not_have_is_an_error() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    let place = Place::new();
    let arguments = "producer path=/mnt/cam0.sock";
    let (mut producer, _running) = start(&podman, &["--memory=50m"], &place, arguments);
    let (mut client, _running) = start(
        &podman,
        &["--memory=20m"],
        &place,
        "client path=/mnt/cam0.sock",
    );
    client.ask("connect", "connected");
    producer.order("publish count=1 size=40000000");
    let failed = producer.next_line();
    assert_eq!(failed.get("kind"), Some("ResourceExhausted"), "{failed}");
    producer.ask("publish count=1 size=1000", "published");
    client.ask("receive count=1", "received");
}

#[test]
fn pictures_flow_between_elements_in_containers() {
    let Some(podman) = Podman::new(PEER) else {
        return;
    };
    let place = Place::new();
    let mut running = Vec::new();
    let mut play = |watch, description: &str| {
        let description = description.replace("channel=cam0", "socket-path=/mnt/cam0.sock");
        let mut pipeline = Pipeline::start_as(&place, &[watch], &description, |command| {
            let (command, container) = podman.command(&command, &[], place.path());
            running.push(container);
            command
        });
        pipeline.order("state to=playing");
        pipeline
    };
    // The client waits, however long the producer takes to start.
    let client = CLIENT.replace(
        "channel",
        "connection-timeout=-1 on-disconnect=error channel",
    );
    let mut client = play("report out.sink", &client);
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut producer = play("report sink.sink", &producer);
    client.until_buffers("out.sink", 20);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    running[1].kill();
    let error = client.until_message("error");
    assert!(
        error.text("text").contains("the producer is gone"),
        "{error}"
    );
}
