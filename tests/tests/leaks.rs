//! Ten thousand frames and a hundred connections under valgrind: no memory is lost or used wrongly,
//! no descriptor stays open, and what exists at the end does not grow with the work.

use std::path::Path;
use std::process::Command;

use xmem_tests::pipeline::{Order, Pipeline, State};
use xmem_tests::process::{self, can_trace};
use xmem_tests::producer::Publish;
use xmem_tests::valgrind::{Log, Verdict};
use xmem_tests::{Client, ClientOrder, Place, Producer};

/// Orders for a producer and a client, and what to wait for.
type Story<P, C> = fn(producer: &mut P, client: &mut C);

/// Runs a story with two peers of the core under valgrind.
fn verdicts_on_peers(story: Story<Producer, Client>) -> [Verdict; 2] {
    let place = Place::new();
    let logs = ["producer", "client"].map(|name| Log::new(&place, name));
    let producer = logs[0].watch(Producer::command("block=3600000"));
    let mut producer = Producer::start_with(producer, &place);
    let mut client = Client::start_with(logs[1].watch(Client::command("")), &place);
    story(&mut producer, &mut client);
    client.ask(ClientOrder::Disconnect);
    process::until_closed(client.pid());
    client.end();
    producer.end();
    logs.map(|log| log.verdict())
}

fn is_clean(verdict: &Verdict) {
    assert_eq!(verdict.errors, [""; 0]);
    assert_eq!(verdict.descriptors, [""; 0]);
    // Blocks of the standard library: the buffer of standard input, and the name of the main
    // thread.
    assert!(
        verdict.blocks < 10,
        "{} blocks are left:\n{}",
        verdict.blocks,
        verdict.log
    );
}

#[test]
fn ten_thousand_frames_leak_nothing() {
    let verdicts = verdicts_on_peers(|producer, client| {
        client.connect();
        producer.order(Publish::frames(10_000, 1000).extra(700));
        client.receive(10000);
        producer.wait_for("published");
    });
    verdicts.iter().for_each(is_clean);
}

#[test]
fn a_hundred_connects_leak_nothing() {
    let verdicts = verdicts_on_peers(|producer, client| {
        producer.publish(1, 1000);
        client.ask(ClientOrder::Cycle(100));
    });
    verdicts.iter().for_each(is_clean);
}

/// Valgrind does not report reliably that a descriptor is closed twice. At the second close it may
/// belong to other code. The kernel reports EBADF.
#[test]
fn a_hundred_connects_use_no_descriptor_that_is_closed() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let strace = |report: &Path| {
        let mut command = Command::new("strace");
        // Calls with descriptors.
        command.args(["-f", "-qq", "-e", "trace=%desc", "-o"]);
        command.arg(report);
        command
    };
    let reports = ["producer", "client"].map(|name| place.path().join(name));
    let producer = Producer::within(strace(&reports[0]), "");
    let mut producer = Producer::start_with(producer, &place);
    producer.publish(1, 1000);
    let mut client = Client::start_with(Client::within(strace(&reports[1]), ""), &place);
    client.ask(ClientOrder::Cycle(100));
    client.end();
    producer.end();
    for report in reports {
        let report = std::fs::read_to_string(report).unwrap();
        assert!(report.matches("close(").count() > 100, "{report}");
        assert!(!report.contains("EBADF"), "{report}");
    }
}

/// Runs a story with two pipelines under valgrind.
fn verdicts_on_pipelines(
    producer: &str,
    client: &str,
    story: Story<Pipeline, Pipeline>,
) -> [Verdict; 2] {
    let place = Place::new();
    let logs = ["producer", "client"].map(|name| Log::new(&place, name));
    let start = |description: &str, log: &Log| {
        Pipeline::start_as(&place, &[], description, |command| log.watch(command))
    };
    let mut producer = start(producer, &logs[0]);
    let mut client = start(client, &logs[1]);
    producer.change(State::Playing);
    client.change(State::Playing);
    story(&mut producer, &mut client);
    client.change(State::Null);
    process::until_closed(client.pid());
    client.end();
    producer.end();
    logs.map(|log| log.verdict())
}

/// GStreamer and GLib keep a varying number of tables and threads, of some hundred blocks at most. What the
/// elements keep must not depend on how long they worked: one block for each of at least 150 repetitions
/// is more than that.
fn are_clean(little: [Verdict; 2], much: [Verdict; 2]) {
    for (little, much) in little.iter().zip(much) {
        // Decided by the functions on the stack.
        let ours = |found: &&String| found.contains("gstxmem") || found.contains("xmem_core");
        assert_eq!(much.errors.iter().find(ours), None);
        assert_eq!(much.descriptors.iter().find(ours), None);
        let (before, after) = (little.blocks, much.blocks);
        assert!(after < before + 140, "{before} blocks became {after}");
    }
}

#[test]
fn pipelines_of_ten_thousand_frames_leak_nothing() {
    let verdicts = |frames: u64| {
        let producer = format!(
            "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width=64,height=48 \
             ! xmemsink channel=cam0 sync=false wait-for-connection=true overflow=block \
             block-timeout=3600000000000"
        );
        let client = "xmemsrc channel=cam0 ! fakesink sync=false";
        verdicts_on_pipelines(&producer, client, |producer, client| {
            producer.until_eos();
            client.until_eos();
        })
    };
    are_clean(verdicts(10), verdicts(10_000));
}

#[test]
fn pipelines_that_connect_again_and_again_leak_nothing() {
    const PRODUCER: &str = "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48 \
                            ! xmemsink channel=cam0";
    const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink sync=false";
    fn connect(client: &mut Pipeline) {
        client.until_stats("src", "a frame has arrived", |stats| {
            stats.number("received") > 0
        });
        client.change(State::Ready);
        client.change(State::Playing);
    }
    let little = verdicts_on_pipelines(PRODUCER, CLIENT, |_, client| connect(client));
    let much = verdicts_on_pipelines(PRODUCER, CLIENT, |_, client| {
        (0..160).for_each(|_| connect(client));
    });
    are_clean(little, much);
}

#[test]
fn pipelines_that_change_their_states_in_all_ways_leak_nothing() {
    const PRODUCER: &str = "videotestsrc ! video/x-raw,format=I420,width=64,height=48,framerate=60/1 \
                            ! xmemsink name=sink channel=cam0";
    const CLIENT: &str = "xmemsrc name=src channel=cam0 on-disconnect=reconnect ! fakesink";
    fn walk(pipeline: &mut Pipeline) {
        use State::{Null, Paused, Playing, Ready};
        let path = [
            Null, Paused, Null, Ready, Playing, Ready, Paused, Playing, Paused, Ready, Playing,
            Null,
        ];
        let walked = pipeline.order(Order::walk(&[path.to_vec()]));
        assert_eq!(walked.text("result"), "Success");
    }
    fn round(producer: &mut Pipeline, client: &mut Pipeline) {
        walk(client);
        walk(producer);
        client.change(State::Playing);
        walk(producer);
        producer.change(State::Playing);
    }
    fn story(producer: &mut Pipeline, client: &mut Pipeline, rounds: usize) {
        // The first frame causes some hundred blocks that are kept once.
        client.until_stats("src", "a frame has arrived", |stats| {
            stats.number("received") > 0
        });
        (0..rounds).for_each(|_| round(producer, client));
    }
    let little = verdicts_on_pipelines(PRODUCER, CLIENT, |producer, client| {
        story(producer, client, 5);
    });
    let much = verdicts_on_pipelines(PRODUCER, CLIENT, |producer, client| {
        story(producer, client, 160);
    });
    are_clean(little, much);
}
