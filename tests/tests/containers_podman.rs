//! Producers and clients in containers of podman: `make test-containers`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use xmem_tests::client::Receive;
use xmem_tests::order::Order;
use xmem_tests::pipeline::{CLIENT, PICTURES, Pipeline, State};
use xmem_tests::podman::{Podman, Running};
use xmem_tests::producer::Publish;
use xmem_tests::{Client, ClientOrder, OpenerOrder, Peer, Place, Producer, ProducerOrder};

/// Starts a peer and waits until it takes orders.
fn start<O: Order>(
    podman: &Podman,
    options: &[&str],
    place: &Place,
    settings: &str,
) -> (Peer<O>, Running) {
    let (mut peer, running) = podman.start(options, place, settings);
    peer.wait_for(O::GREETING);
    (peer, running)
}

/// Passes frames from a producer in one container to a client in another, and ends each.
fn frames_flow(podman: &Podman, place: &Place, producer: &[&str], client: &[&str]) {
    let settings = "path=/mnt/cam0.sock perms=666";
    let (mut producer, running) = start::<ProducerOrder>(podman, producer, place, settings);
    let receive = |producer: &mut Producer, client: &mut Client| {
        for size in [1000, 3_000_000] {
            producer.publish(1, size);
            client.receive(1);
        }
    };
    let (mut first, first_running) =
        start::<ClientOrder>(podman, client, place, "path=/mnt/cam0.sock");
    first.connect();
    receive(&mut producer, &mut first);
    first_running.kill();
    producer.until_clients(0);
    let (mut second, _second_running) =
        start::<ClientOrder>(podman, client, place, "path=/mnt/cam0.sock");
    second.connect();
    second.receive(1);
    running.kill();
    let end = second.fail_at(Receive::frames(1));
    assert_eq!(end.text("kind"), "Disconnected", "{end}");
}

#[test]
fn frames_flow_between_containers_of_root() {
    let Some(podman) = Podman::new() else {
        return;
    };
    frames_flow(&podman, &Place::new(), &[], &[]);
}

#[test]
fn frames_flow_between_containers_of_other_users() {
    let Some(podman) = Podman::new() else {
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
    let Some(podman) = Podman::new() else {
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
    let Some(podman) = Podman::new() else {
        return;
    };
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("our directory");
    let options = ["--user=1000:1000", "--env=XMEM_RUNTIME_DIR=/mnt"];
    let refused_to_open = |settings: &str| {
        let (mut opener, _running) = start::<OpenerOrder>(&podman, &options, &place, settings);
        opener.fail_at(OpenerOrder::Open)
    };
    let (mut client, _running) = start::<ClientOrder>(&podman, &options, &place, "");
    for (failed, words) in [
        (
            refused_to_open(""),
            ["belongs to user", "socket path", "perms"],
        ),
        (
            client.fail_at(ClientOrder::Connect),
            ["belongs to user", "socket path", "perms"],
        ),
        (
            refused_to_open("path=/mnt/cam0.sock"),
            ["Permission denied", "subdirectory", "socket path"],
        ),
    ] {
        for word in words {
            assert!(failed.text("text").contains(word), "{word:?}: {failed}");
        }
    }
}

/// Podman 5.2 to 5.8 and CRI-O 1.31 and later answer so by default.
#[test]
fn frames_flow_where_the_profile_refuses_futex_waitv() {
    let Some(podman) = Podman::new() else {
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
    let Some(podman) = Podman::new() else {
        return;
    };
    let place = Place::new();
    let settings = "path=/mnt/cam0.sock";
    let start_producer = start::<ProducerOrder>;
    let (mut producer, _running) = start_producer(&podman, &["--memory=50m"], &place, settings);
    let start_client = start::<ClientOrder>;
    let (mut client, _running) = start_client(&podman, &["--memory=20m"], &place, settings);
    client.connect();
    let failed = producer.fail_at(Publish::frames(1, 40_000_000));
    assert_eq!(failed.text("kind"), "ResourceExhausted", "{failed}");
    producer.publish(1, 1000);
    client.receive(1);
}

#[test]
fn pictures_flow_between_elements_in_containers() {
    let Some(podman) = Podman::new() else {
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
        pipeline.order(State::Playing);
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
