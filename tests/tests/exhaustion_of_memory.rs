//! There is not enough memory. A process that needs some gets an error that says what helps,
//! nothing is left of the failed operation, all other processes continue, and the operation
//! succeeds once there is memory.
//!
//! The limits are those of the kernel. `RLIMIT_AS` leaves enough for other allocations of the
//! program: a failure of those ends a Rust program, or a program that uses GLib.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Resource;
use xmem_core::{EventKind, Publisher};
use xmem_tests::client::Receive;
use xmem_tests::control_group::Group;
use xmem_tests::limits::{leave_addresses, lower};
use xmem_tests::order::Order;
use xmem_tests::producer::Publish;
use xmem_tests::{
    Client, ClientOrder, Line, Opener, OpenerOrder, PATIENCE, Peer, Place, Producer, nobody,
    process, until,
};

/// Memory for everything except frames, for example the stack of a thread, in bytes.
const BESIDE: u64 = 20 << 20;

fn start<O: Order>(place: &Place, settings: &str) -> Peer<O> {
    start_with(Peer::<O>::command(settings), place)
}

fn start_with<O: Order>(command: Command, place: &Place) -> Peer<O> {
    let peer = Peer::start_with(command, place);
    process::until_asleep(peer.pid(), "worker");
    peer
}

/// Connects, and waits until the producer has closed the descriptors that it sent.
fn connect(client: &mut Client, producer: &Producer) {
    client.connect();
    process::until_asleep(producer.pid(), "xmem-control");
}

fn says(failed: &Line, kind: &str, words: &[&str]) {
    failed.says(kind, words);
    assert_eq!(failed.text("retryable"), "true", "{failed}");
}

/// Has the producer publish frames, which the client must receive.
fn goes_on(producer: &mut Producer, client: &mut Client) {
    producer.publish(5, 1000);
    client.receive_all(5);
}

/// A producer and a client of it.
fn producer_and_client(place: &Place) -> (Producer, Client) {
    let producer = start(place, "slot-size=1000");
    let mut client = start(place, "");
    connect(&mut client, &producer);
    (producer, client)
}

#[test]
fn slots_larger_than_the_machine_are_refused_and_its_memory_is_not_touched() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let before = process::belongings(producer.pid());
    for size in [1usize << 40, 1 << 50, 1 << 62, isize::MAX as usize] {
        // When it opens.
        let mut opener: Opener = start(&place, &format!("channel=cam1 slot-size={size}"));
        let idle = process::belongings(opener.pid());
        says(
            &opener.fail_at(OpenerOrder::Open),
            "ResourceExhausted",
            &["memory", "slots"],
        );
        assert_eq!(process::belongings(opener.pid()), idle);
        assert_eq!(place.files(), ["cam0.sock"]);
        // When a larger frame is published.
        says(
            &producer.fail_at(Publish::frames(1, size)),
            "ResourceExhausted",
            &["memory"],
        );
        goes_on(&mut producer, &mut client);
        assert_eq!(process::belongings(producer.pid()), before);
    }
}

#[test]
fn a_producer_without_addresses_goes_on_with_the_memory_it_has() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let limit = leave_addresses(producer.pid(), BESIDE);
    for wish in [
        Publish::frames(1, 50000000),
        Publish::frames(1, 1000).extra(40000000),
    ] {
        let words = ["not enough memory", "RLIMIT_AS", "max_slots"];
        says(&producer.fail_at(wish), "ResourceExhausted", &words);
        goes_on(&mut producer, &mut client);
    }
    drop(limit);
    producer.publish(1, 50_000_000);
    client.receive(1);
}

#[test]
fn a_client_whose_slots_find_no_memory_is_refused_and_gets_in_later() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=10000000");
    let mut old: Client = start(&place, "leases=1");
    connect(&mut old, &producer);
    let mut new: Client = start(&place, "leases=4");
    let before = process::belongings(producer.pid());
    let limit = leave_addresses(producer.pid(), BESIDE);
    let words = ["producer", "4 slots", "not enough memory", "fewer leases"];
    says(&new.fail_at(ClientOrder::Connect), "Refused", &words);
    producer.publish(2, 1000);
    old.receive(2);
    until("nothing is left", || {
        process::belongings(producer.pid()) == before
    });
    drop(limit);
    new.connect();
    new.receive(1);
}

#[test]
fn a_client_that_cannot_map_new_memory_gets_an_error_and_can_reconnect() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let mut other: Client = start(&place, "");
    other.connect();
    let limit = leave_addresses(client.pid(), BESIDE);
    producer.publish(1, 10_000_000);
    other.receive(1);
    let words = ["mapping", "not enough memory", "RLIMIT_AS"];
    says(
        &client.fail_at(Receive::frames(1)),
        "ResourceExhausted",
        &words,
    );
    // It cannot connect again as long as there is no more memory. It receives a Welcome, and then
    // the error.
    client.connect();
    says(
        &client.fail_at(Receive::frames(1)),
        "ResourceExhausted",
        &words,
    );
    goes_on(&mut producer, &mut other);
    drop(limit);
    client.connect();
    client.receive(1);
    producer.until_clients(2);
}

#[test]
fn memory_beyond_the_size_of_a_file_is_refused_without_a_signal() {
    let place = Place::new();
    let (mut producer, mut client) = producer_and_client(&place);
    let limit = lower(producer.pid(), Resource::Fsize, 1 << 20);
    for wish in [
        Publish::frames(1, 2000000),
        Publish::frames(1, 1000).extra(2000000),
    ] {
        let words = ["RLIMIT_FSIZE", "ulimit -f"];
        says(&producer.fail_at(wish), "ResourceExhausted", &words);
        goes_on(&mut producer, &mut client);
    }
    drop(limit);
    producer.publish(1, 2_000_000);
    client.receive(1);
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
        Publish::frames(1, 30000000),
        Publish::frames(1, 1000).extra(30000000),
    ] {
        says(
            &producer.fail_at(wish),
            "ResourceExhausted",
            &["control group"],
        );
        goes_on(&mut producer, &mut client);
    }
    // Memory that fits is made.
    producer.publish(1, 2_000_000);
    client.receive(1);
    group.set(500 << 20).expect("the limit may be raised");
    producer.publish(1, 30_000_000);
    client.receive(1);
    producer.kill();
}

#[test]
fn a_client_maps_existing_memory_when_no_more_can_be_made() {
    let Some(group) = Group::new(500 << 20) else {
        return;
    };
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=4000000 slots=10");
    let mut client: Client = start(&place, "");
    let mut later: Client = start(&place, "leases=1");
    for pid in [producer.pid(), client.pid(), later.pid()] {
        group.take(pid);
    }
    // The memory counts for the group of the producer, also for the first client.
    producer.publish(1, 8_000_000);
    connect(&mut client, &producer);
    connect(&mut later, &producer);
    later.ask(ClientOrder::Disconnect);
    // Less than one of the pieces in which memory is mapped, and a part of the memory to map.
    group
        .set(group.used() + (3 << 20))
        .expect("the limit may be set");
    connect(&mut later, &producer);
    for _ in 0..20 {
        producer.publish(1, 8_000_000);
        for client in [&mut client, &mut later] {
            client.receive(1);
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
    let settings = "slot-size=1000000 max-clients=60 max-slots=2000";
    let mut producer: Producer = start(&place, settings);
    group.take(producer.pid());
    producer.publish(1, 2_000_000);
    let mut client: Client = start(&place, "");
    group.take(client.pid());
    connect(&mut client, &producer);
    let mut greedy = Vec::new();
    for leases in [64, 32, 16, 8, 4, 2, 1] {
        loop {
            let mut another: Client = start(&place, &format!("leases={leases}"));
            let answer = another.outcome(ClientOrder::Connect);
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
        let mut one: Client = start(&place, "leases=64");
        connect(&mut one, &producer);
        idle.push(one);
    }
    group.take(producer.pid());
    // Four times the available memory, for all leases.
    for _ in 0..20 {
        producer.publish(1, 4_000_000);
        client.receive(1);
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
    let mut producer: Producer = start(&place, &format!("block={block}"));
    let mut client: Client = start(&place, "leases=64");
    connect(&mut client, &producer);
    group.take(producer.pid());
    client.order(ClientOrder::Hold(64));
    producer.order(Publish::frames(FRAMES, 4_000_000));
    let published = |producer: &mut Producer| producer.stats().number("published");
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
        client.release(1);
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
    let mut idle: Client = start(&place, "leases=63");
    connect(&mut idle, &producer);
    group.take(producer.pid());
    producer.publish(1, 4_000_000);
    client.receive(1);
    process::until_asleep(producer.pid(), "xmem-control");
    let slots = |producer: &mut Producer| producer.stats().number("slots");
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
    let mut client: Client = start(&place, "");
    group.take(client.pid());
    client.connect();
    for key in 0..8 {
        let content = vec![key as u8; LONG];
        let said = publisher.send_event(EventKind::Sticky(key), &content);
        said.expect("this process has enough memory");
    }
    let failed = client.fail_at(Receive::frames(1));
    let words = ["reading an event", "control group"];
    says(&failed, "ResourceExhausted", &words);
}

/// A peer of another user, so that limits apply to it. `None` if no such user can be used.
fn as_another_user<O: Order>(place: &Place, settings: &str) -> Option<Peer<O>> {
    let command = nobody::running(Peer::<O>::command(settings), place)?;
    Some(start_with(command, place))
}

/// Sets the limit of the user's threads for a process. The user itself may do that; root may not
/// always.
fn limit_threads(pid: u32, threads: u32) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--nproc={threads}:")]);
    let status = command.uid(nobody::NOBODY).gid(nobody::NOBODY).status();
    assert!(status.expect("prlimit starts").success());
}

#[test]
fn a_failure_to_start_a_thread_is_an_error_and_leaves_nothing() {
    let place = Place::new();
    let Some(mut producer) = as_another_user::<OpenerOrder>(&place, "") else {
        return;
    };
    fails_without_threads(&mut producer, OpenerOrder::Open);
    producer.ask(OpenerOrder::Publish);
    let client = as_another_user::<ClientOrder>(&place, "");
    let mut client = client.expect("another user is possible, as before");
    fails_without_threads(&mut client, ClientOrder::Connect);
    client.receive(1);
}

fn fails_without_threads<O: Order + Clone>(peer: &mut Peer<O>, order: O) {
    let before = process::belongings(peer.pid());
    limit_threads(peer.pid(), 0);
    let words = ["starting", "too many threads", "RLIMIT_NPROC", "ulimit -u"];
    says(&peer.fail_at(order.clone()), "ResourceExhausted", &words);
    until("nothing is left", || {
        process::belongings(peer.pid()) == before
    });
    limit_threads(peer.pid(), 1000);
    peer.ask(order);
}
