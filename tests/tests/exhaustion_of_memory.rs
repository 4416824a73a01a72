//! There is not enough memory. A process that needs some gets an error that says what helps,
//! nothing is left of the failed operation, all other processes continue, and the operation
//! succeeds once there is memory.
//!
//! The limits are those of the kernel. `RLIMIT_AS` leaves enough for other allocations of the
//! program: a failure of those ends a Rust program, or a program that uses GLib.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Gid, Uid, chown};
use rustix::process::Resource;
use xmem_core::{EventKind, Publisher};
use xmem_tests::control_group::Group;
use xmem_tests::limits::{leave_addresses, lower};
use xmem_tests::{Line, PATIENCE, Peer, Place, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");
/// Memory for everything except frames, for example the stack of a thread, in bytes.
const BESIDE: u64 = 20 << 20;
/// The user "nobody", to whom a limit of threads applies.
const NOBODY: u32 = 65534;

fn start(place: &Place, arguments: &str) -> Peer {
    let mut peer = Peer::start(PEER, place, arguments);
    until_ready(&mut peer, arguments);
    peer
}

fn until_ready(peer: &mut Peer, arguments: &str) {
    let greeting = if arguments.starts_with("producer") {
        "opened"
    } else {
        "ready"
    };
    peer.wait_for(greeting);
    process::until_asleep(peer.pid(), "worker");
}

/// Connects, and waits until the producer has closed the descriptors that it sent.
fn connect(client: &mut Peer, producer: &Peer) {
    client.ask("connect", "connected");
    process::until_asleep(producer.pid(), "xmem-control");
}

fn says(failed: &Line, kind: &str, words: &[&str]) {
    assert_eq!(failed.text("kind"), kind, "{failed}");
    assert_eq!(failed.text("retryable"), "true", "{failed}");
    for word in words {
        assert!(failed.text("text").contains(word), "{word:?}: {failed}");
    }
}

/// The number of descriptors, mappings of xmem, and threads.
fn belongings(pid: u32) -> (usize, usize, usize) {
    let maps = process::maps(pid, "xmem-").len();
    (
        process::fd_count(pid),
        maps,
        process::thread_states(pid).len(),
    )
}

/// Has the producer publish frames, which the client must receive.
fn goes_on(producer: &mut Peer, client: &mut Peer) {
    producer.ask("publish count=5 size=1000", "published");
    let received = client.ask("receive count=5", "received");
    assert_eq!(received.number("missed"), 0);
}

/// A producer and a client of it.
fn producer_and_client(place: &Place) -> (Peer, Peer) {
    let producer = start(place, "producer channel=cam0 slot-size=1000");
    let mut client = start(place, "client channel=cam0");
    connect(&mut client, &producer);
    (producer, client)
}

#[test]
fn slots_larger_than_the_machine_are_refused_and_its_memory_is_not_touched() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let before = belongings(producer.pid());
    for size in [1u64 << 40, 1 << 50, 1 << 62, i64::MAX as u64] {
        // When it opens.
        let mut opener = start(&place, &format!("opener channel=cam1 slot-size={size}"));
        let idle = belongings(opener.pid());
        opener.order("open");
        says(
            &opener.next_line(),
            "ResourceExhausted",
            &["memory", "slots"],
        );
        assert_eq!(belongings(opener.pid()), idle);
        assert_eq!(place.files(), ["cam0.sock"]);
        // When a larger frame is published.
        producer.order(&format!("publish count=1 size={size}"));
        says(&producer.next_line(), "ResourceExhausted", &["memory"]);
        goes_on(&mut producer, &mut client);
        assert_eq!(belongings(producer.pid()), before);
    }
}

#[test]
fn a_producer_without_addresses_goes_on_with_the_memory_it_has() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let limit = leave_addresses(producer.pid(), BESIDE);
    for wish in [
        "publish count=1 size=50000000",
        "publish count=1 size=1000 extra=40000000",
    ] {
        producer.order(wish);
        let words = ["not enough memory", "RLIMIT_AS", "max_slots"];
        says(&producer.next_line(), "ResourceExhausted", &words);
        goes_on(&mut producer, &mut client);
    }
    drop(limit);
    producer.ask("publish count=1 size=50000000", "published");
    client.ask("receive count=1", "received");
}

#[test]
fn a_client_whose_slots_find_no_memory_is_refused_and_gets_in_later() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=10000000");
    let mut old = start(&place, "client channel=cam0 leases=1");
    connect(&mut old, &producer);
    let mut new = start(&place, "client channel=cam0 leases=4");
    let before = belongings(producer.pid());
    let limit = leave_addresses(producer.pid(), BESIDE);
    new.order("connect");
    let words = ["producer", "4 slots", "not enough memory", "fewer leases"];
    says(&new.next_line(), "Refused", &words);
    producer.ask("publish count=2 size=1000", "published");
    old.ask("receive count=2", "received");
    until("nothing is left", || belongings(producer.pid()) == before);
    drop(limit);
    new.ask("connect", "connected");
    new.ask("receive count=1", "received");
}

#[test]
fn a_client_that_cannot_map_new_memory_gets_an_error_and_can_reconnect() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let mut other = start(&place, "client channel=cam0");
    other.ask("connect", "connected");
    let limit = leave_addresses(client.pid(), BESIDE);
    producer.ask("publish count=1 size=10000000", "published");
    other.ask("receive count=1", "received");
    client.order("receive count=1");
    assert_eq!(client.next_line().word, "receiving");
    let words = ["mapping", "not enough memory", "RLIMIT_AS"];
    says(&client.next_line(), "ResourceExhausted", &words);
    // It cannot connect again as long as there is no more memory. It receives a Welcome, and then
    // the error.
    client.ask("connect", "connected");
    client.order("receive count=1");
    assert_eq!(client.next_line().word, "receiving");
    says(&client.next_line(), "ResourceExhausted", &words);
    goes_on(&mut producer, &mut other);
    drop(limit);
    client.ask("connect", "connected");
    client.ask("receive count=1", "received");
    until("the failed connection is gone", || {
        producer.ask("stats", "stats").number("clients") == 2
    });
}

#[test]
fn memory_beyond_the_size_of_a_file_is_refused_without_a_signal() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let limit = lower(producer.pid(), Resource::Fsize, 1 << 20);
    for wish in [
        "publish count=1 size=2000000",
        "publish count=1 size=1000 extra=2000000",
    ] {
        producer.order(wish);
        let words = ["RLIMIT_FSIZE", "ulimit -f"];
        says(&producer.next_line(), "ResourceExhausted", &words);
        goes_on(&mut producer, &mut client);
    }
    drop(limit);
    producer.ask("publish count=1 size=2000000", "published");
    client.ask("receive count=1", "received");
}

#[test]
fn memory_that_a_control_group_does_not_have_is_an_error_and_no_process_is_killed() {
    let Some(group) = Group::new(50 << 20) else {
        return;
    };
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    group.take(producer.pid());
    for wish in [
        "publish count=1 size=30000000",
        "publish count=1 size=1000 extra=30000000",
    ] {
        producer.order(wish);
        says(
            &producer.next_line(),
            "ResourceExhausted",
            &["control group"],
        );
        goes_on(&mut producer, &mut client);
    }
    // Memory that fits is made.
    producer.ask("publish count=1 size=2000000", "published");
    client.ask("receive count=1", "received");
    group.set(500 << 20).expect("the limit may be raised");
    producer.ask("publish count=1 size=30000000", "published");
    client.ask("receive count=1", "received");
    producer.kill();
}

#[test]
fn a_client_maps_existing_memory_when_no_more_can_be_made() {
    let Some(group) = Group::new(500 << 20) else {
        return;
    };
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=4000000 slots=10");
    let mut client = start(&place, "client channel=cam0");
    let mut later = start(&place, "client channel=cam0 leases=1");
    for peer in [&producer, &client, &later] {
        group.take(peer.pid());
    }
    // The memory counts for the group of the producer, also for the first client.
    producer.ask("publish count=1 size=8000000", "published");
    connect(&mut client, &producer);
    connect(&mut later, &producer);
    later.ask("disconnect", "disconnected");
    // Less than one of the pieces in which memory is mapped, and a part of the memory to map.
    group
        .set(group.used() + (3 << 20))
        .expect("the limit may be set");
    connect(&mut later, &producer);
    for _ in 0..20 {
        producer.ask("publish count=1 size=8000000", "published");
        for client in [&mut client, &mut later] {
            client.ask("receive count=1", "received");
        }
    }
    group.set(500 << 20).expect("the limit may be raised");
}

#[test]
fn clients_that_want_all_memory_leave_some_for_others() {
    const LIMIT: u64 = 200 << 20;
    let Some(group) = Group::new(LIMIT) else {
        return;
    };
    let place = Place::new();
    let arguments = "producer channel=cam0 slot-size=1000000 max-clients=60 max-slots=2000";
    let mut producer = start(&place, arguments);
    group.take(producer.pid());
    producer.ask("publish count=1 size=2000000", "published");
    let mut client = start(&place, "client channel=cam0");
    group.take(client.pid());
    connect(&mut client, &producer);
    let mut greedy = Vec::new();
    for leases in [64, 32, 16, 8, 4, 2, 1] {
        loop {
            let mut another = start(&place, &format!("client channel=cam0 leases={leases}"));
            another.order("connect");
            let answer = another.next_line();
            if answer.word != "connected" {
                says(&answer, "Refused", &["memory", "control group"]);
                break;
            }
            greedy.push(another);
        }
    }
    assert!(group.used() > LIMIT / 2, "{} bytes", group.used());
    // A sixteenth is left, less what a process needs for other purposes.
    let left = LIMIT - group.used();
    assert!(left > LIMIT / 20, "{left} bytes");
    drop(greedy);
    goes_on(&mut producer, &mut client);
    producer.kill();
}

#[test]
fn a_larger_frame_is_published_without_memory_for_all_leases() {
    let Some(group) = Group::new(200 << 20) else {
        return;
    };
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut one = start(&place, "client channel=cam0 leases=64");
        connect(&mut one, &producer);
        idle.push(one);
    }
    group.take(producer.pid());
    // Four times the available memory, for all leases.
    for _ in 0..20 {
        producer.ask("publish count=1 size=4000000", "published");
        client.ask("receive count=1", "received");
    }
    drop(idle);
    goes_on(&mut producer, &mut client);
    producer.kill();
}

/// A producer that waits for its clients also waits for the slots that they hold, and no frame is
/// lost.
#[test]
fn a_writer_that_waits_for_clients_waits_for_slots_where_there_is_no_memory_for_others() {
    const FRAMES: u64 = 66;
    let Some(group) = Group::new(150 << 20) else {
        return;
    };
    let place = Place::new();
    let block = PATIENCE.as_millis();
    let mut producer = start(&place, &format!("producer channel=cam0 block={block}"));
    let mut client = start(&place, "client channel=cam0 leases=64");
    connect(&mut client, &producer);
    group.take(producer.pid());
    client.order("hold count=64");
    producer.order(&format!("publish count={FRAMES} size=4000000"));
    let published = |producer: &mut Peer| producer.ask("stats", "stats").number("published");
    until("there is no memory left", || {
        let before = published(&mut producer);
        process::until_asleep(producer.pid(), "worker");
        before > 20 && published(&mut producer) == before
    });
    assert!(
        published(&mut producer) < FRAMES,
        "there is not enough memory for all"
    );
    until("all frames are published", || {
        client.ask("release count=1", "heard");
        published(&mut producer) == FRAMES
    });
}

/// Slots for which there was not enough memory are made later.
#[test]
fn slots_that_could_not_be_made_are_made_later() {
    const SLOTS: u64 = 66;
    let Some(group) = Group::new(150 << 20) else {
        return;
    };
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let mut idle = start(&place, "client channel=cam0 leases=63");
    connect(&mut idle, &producer);
    group.take(producer.pid());
    producer.ask("publish count=1 size=4000000", "published");
    client.ask("receive count=1", "received");
    process::until_asleep(producer.pid(), "xmem-control");
    let slots = |producer: &mut Peer| producer.ask("stats", "stats").number("slots");
    assert!(
        slots(&mut producer) < SLOTS,
        "there is not enough memory for all"
    );
    group
        .set(600 << 20)
        .expect("the machine has this much memory");
    until("all slots exist", || slots(&mut producer) >= SLOTS);
    goes_on(&mut producer, &mut client);
}

#[test]
fn a_client_without_memory_for_an_event_gets_an_error_and_is_not_killed() {
    const LONG: usize = 16 << 20;
    let Some(group) = Group::new(64 << 20) else {
        return;
    };
    let place = Place::new();
    let open = Publisher::builder(place.channel("cam0")).open();
    let publisher = open.expect("a channel");
    // Each event is kept, because it describes a state of the stream.
    let mut client = start(&place, "client channel=cam0");
    group.take(client.pid());
    client.ask("connect", "connected");
    for key in 0..8 {
        let content = vec![key as u8; LONG];
        let said = publisher.send_event(EventKind::Sticky(key), &content);
        said.expect("this process has enough memory");
    }
    client.order("receive count=1");
    client.wait_for("receiving");
    says(
        &client.next_line(),
        "ResourceExhausted",
        &["reading an event", "control group"],
    );
}

/// A peer of a user to whom limits apply. `None` if no such user can be used.
fn as_another_user(place: &Place, arguments: &str) -> Option<Peer> {
    let as_nobody = |program: &str| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    let may = as_nobody("test").args(["-x", PEER]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not tried: no other user can start a peer here");
        return None;
    }
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    chown(place.path(), Some(uid), Some(gid))
        .expect("a process that can become another user may change the owner");
    let mut command = as_nobody(PEER);
    command.args(arguments.split_whitespace());
    let mut peer = Peer::spawn(command, place, arguments);
    until_ready(&mut peer, arguments);
    Some(peer)
}

/// Sets the limit of the user's threads for a process. The user itself may do that; root may not
/// always.
fn limit_threads(pid: u32, threads: u32) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--nproc={threads}:")]);
    let status = command.uid(NOBODY).gid(NOBODY).status();
    assert!(status.expect("prlimit starts").success());
}

#[test]
fn a_failure_to_start_a_thread_is_an_error_and_leaves_nothing() {
    let place = Place::new();
    let Some(mut producer) = as_another_user(&place, "opener channel=cam0") else {
        return;
    };
    let fails = |peer: &mut Peer, order: &str, done: &str| {
        let before = belongings(peer.pid());
        limit_threads(peer.pid(), 0);
        peer.order(order);
        let words = ["starting", "too many threads", "RLIMIT_NPROC", "ulimit -u"];
        says(&peer.next_line(), "ResourceExhausted", &words);
        until("nothing is left", || belongings(peer.pid()) == before);
        limit_threads(peer.pid(), 1000);
        peer.ask(order, done);
    };
    fails(&mut producer, "open", "opened");
    producer.ask("publish", "published");
    let mut client = as_another_user(&place, "client channel=cam0")
        .expect("another user is possible, as before");
    fails(&mut client, "connect", "connected");
    client.ask("receive count=1", "received");
}
