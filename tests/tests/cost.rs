//! The cost of a frame in the steady state: system calls, as `strace` counts them, and page faults.
//! Also limits of the cost of a connection.
//!
//! A count is the difference between a run with many frames and a run with few, so it contains the
//! cost of frames only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use xmem_tests::client::Receive;
use xmem_tests::order::Order;
use xmem_tests::process::can_trace;
use xmem_tests::producer::Publish;
use xmem_tests::{Client, ClientOrder, Peer, Place, Producer};

/// The numbers of frames of the short and of the long run.
const FEW: u64 = 100;
const MANY: u64 = 500;

/// The number of calls of each system call, by name.
type Calls = BTreeMap<String, i64>;

/// A peer under strace.
struct Traced<O> {
    peer: Peer<O>,
    report: PathBuf,
}

impl<O: Order> Traced<O> {
    fn start(place: &Place, settings: &str) -> Traced<O> {
        let report = place.path().join(O::ROLE);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-qq", "-o"]).arg(&report);
        Traced {
            peer: Peer::start_with(Peer::<O>::within(strace, settings), place),
            report,
        }
    }

    /// Ends the peer and reads the report: a table whose fourth column is the number of calls and
    /// whose last column is the name.
    fn calls(mut self) -> Calls {
        self.peer.end();
        let report = std::fs::read_to_string(&self.report).unwrap();
        let mut calls = Calls::new();
        for line in report.lines() {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if let [_, _, _, count, .., name] = columns[..]
                && let Ok(count) = count.parse::<i64>()
                && name != "total"
            {
                calls.insert(name.into(), count);
            }
        }
        assert!(!calls.is_empty(), "{report}");
        calls
    }
}

/// The actions of producer and client for a number of frames.
type Run<'a> = &'a dyn Fn(&mut Producer, &mut Client, u64);

/// The system calls of producer and client for `frames` frames. `others` more clients receive them
/// too.
fn trace(frames: u64, others: usize, run: Run<'_>) -> (Calls, Calls) {
    let place = Place::new();
    let mut producer = Traced::start(&place, "slots=480 slot-size=4096");
    let mut client = Traced::start(&place, "");
    client.peer.connect();
    let start = |_| {
        let mut other = Client::connected(&place, "");
        other.begin(Receive::frames(frames));
        other
    };
    let mut others: Vec<Client> = (0..others).map(start).collect();
    run(&mut producer.peer, &mut client.peer, frames);
    others.iter_mut().for_each(|other| {
        other.wait_for("received");
    });
    let client = client.calls();
    (producer.calls(), client)
}

/// The system calls of producer and client per frame, without those by which the producer keeps
/// time.
fn system_calls_a_frame(others: usize, run: Run<'_>) -> (f64, f64) {
    let (few, many) = (trace(FEW, others, run), trace(MANY, others, run));
    let a_frame = |few: &Calls, many: &Calls| {
        let mut more = many.clone();
        more.retain(|name, count| {
            *count -= few.get(name).unwrap_or(&0);
            *count != 0 && name != "clock_nanosleep"
        });
        println!("{} more frames: {more:?}", MANY - FEW);
        more.values().sum::<i64>() as f64 / (MANY - FEW) as f64
    };
    (a_frame(&few.0, &many.0), a_frame(&few.1, &many.1))
}

/// Some calls happen occasionally and do not belong to a frame: memory for the allocator, for
/// example.
const NOW_AND_THEN: f64 = 0.05;

/// Checks that a frame costs at most `most` system calls per side. Tracing makes calls slow and
/// opens gaps between them, and a busy machine makes the gaps longer: a late wake-up costs one more
/// call. So the best of three runs counts.
fn costs_at_most(most: f64, when: &str, others: usize, run: Run<'_>) {
    if !can_trace() {
        return;
    }
    let mut results = Vec::new();
    for _ in 0..3 {
        let (producer, client) = system_calls_a_frame(others, run);
        eprintln!("system calls per frame, {when}: producer {producer:.3}, client {client:.3}");
        if producer.max(client) <= most + NOW_AND_THEN {
            return;
        }
        results.push((producer, client));
    }
    panic!("producer and client: {results:?}");
}

/// Frames one by one, to a client that sleeps between them.
fn one_by_one(producer: &mut Producer, client: &mut Client, frames: u64) {
    client.begin(Receive::frames(frames));
    producer.ask(Publish::frames(frames, 4000).extra(300).period_us(5000));
    assert_eq!(client.wait_for("received").number("missed"), 0);
}

#[test]
fn a_frame_costs_at_most_one_system_call_a_side_where_the_client_sleeps() {
    costs_at_most(1.0, "client asleep", 0, &one_by_one);
}

#[test]
fn a_frame_costs_one_system_call_for_two_clients_that_sleep() {
    costs_at_most(2.0, "four clients asleep", 3, &one_by_one);
}

#[test]
fn a_frame_costs_no_system_call_where_no_client_sleeps() {
    costs_at_most(0.0, "none asleep", 0, &|producer, client, frames| {
        producer.ask(Publish::frames(frames, 4000).extra(300));
        // All frames have been published already.
        client.receive_all(frames);
    });
}

#[test]
fn a_frame_costs_no_system_call_where_the_client_only_looks() {
    costs_at_most(0.0, "client looking", 0, &|producer, client, frames| {
        // After the first frame the client knows the segment and does not wait for anything else.
        producer.publish(1, 4000);
        client.receive(1);
        client.begin(ClientOrder::Look(frames));
        producer.ask(Publish::frames(frames, 4000).period_us(1000));
        client.wait_for("received");
    });
}

#[test]
fn a_frame_costs_no_page_fault() {
    const FRAMES: u64 = 2000;
    const WARM_UP: u64 = 200;
    let place = Place::new();
    // Frames of some size, with extra bytes beside the record and in memory of their own.
    for (size, extra) in [(500_000, 0), (20_000, 300), (20_000, 5000)] {
        let mut producer = Producer::start(&place, "");
        let mut client = Client::connected(&place, "");
        client.order(Receive::frames(FRAMES).warm_up(WARM_UP));
        let frames = Publish::frames(0, size).extra(extra).period_us(300);
        producer.run(frames.warm_up(WARM_UP));
        let received = client.wait_for("received").number("faults");
        let published = producer.halt();
        let (count, published) = (published.number("count"), published.number("faults"));
        eprintln!(
            "page faults with {size} bytes and {extra} extra: producer {published} in {count} \
             frames, client {received} in {FRAMES}"
        );
        // Code that runs for the first time causes page faults that do not belong to frames.
        let allowed = FRAMES / 200;
        assert!(published < allowed && received < allowed);
        producer.end();
    }
}

/// Closing an inotify descriptor takes until every processor has passed through the kernel: many
/// milliseconds on a busy machine, and occasionally seconds. That is longer than a producer waits
/// for the Hello of a connection, or a pipeline for a state change.
#[test]
fn a_client_closes_its_watch_in_another_thread() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let report = place.path().join("connect");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=connect,sendmsg,close"]);
    strace.arg("-o").arg(&report);
    let mut client = Client::start_with(Client::within(strace, ""), &place);
    client.order(ClientOrder::Connect);
    let _producer = Producer::start(&place, "");
    client.wait_for("connected");
    client.end();
    let report = std::fs::read_to_string(report).unwrap();
    // Each line begins with a thread ID. When the process ends, the descriptor may still be open.
    let thread = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let lines = |what: &'static str| report.lines().filter(move |line| line.contains(what));
    let connecting: Vec<_> = lines("connect(").map(thread).collect();
    assert!(!connecting.is_empty(), "{report}");
    let closing: Vec<_> = lines("close(")
        .filter(|line| line.contains("inotify"))
        .collect();
    let same = closing
        .iter()
        .find(|line| connecting.contains(&thread(line)));
    assert_eq!(same, None, "{report}");
}
