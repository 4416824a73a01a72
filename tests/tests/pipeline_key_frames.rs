//! A client that waits for a key frame which does not come, and a client that can hold only one
//! frame.

use std::time::{Duration, Instant};

use xmem_tests::pipeline::{Pipeline, Push};
use xmem_tests::{Place, until};

const MS: u64 = 1_000_000;

/// A producer that keeps no group, for frames that a test pushes.
fn producer(place: &Place) -> Pipeline {
    let producer = "appsrc name=src is-live=true format=time ! \
                    xmemsink name=sink channel=cam0 sync=false group-time=0";
    Pipeline::play(place, &["report sink.sink"], producer)
}

fn client(place: &Place, source: &str) -> Pipeline {
    let client = format!("xmemsrc name=src channel=cam0 {source} ! fakesink name=out sync=false");
    Pipeline::play(place, &["report src.src"], &client)
}

fn frame() -> Push {
    Push::of("video/x-test").size(100)
}

/// The number of requests for key frames that have reached the elements before the sink.
fn requests(producer: &mut Pipeline) -> usize {
    producer.stats("sink");
    let requests = producer.log().iter().filter(|line| {
        line.get("type") == Some("custom-upstream") && line.text("text").contains("ForceKeyUnit")
    });
    requests.count()
}

/// The number of warnings on the bus.
fn warnings(client: &mut Pipeline) -> usize {
    client.stats("src");
    let warnings = client
        .log()
        .iter()
        .filter(|line| line.word == "message" && line.text("type") == "warning");
    warnings.count()
}

/// The source of the producer ignores all requests.
#[test]
fn a_key_frame_that_does_not_come_is_requested_again_with_a_warning() {
    let place = Place::new();
    let mut producer = producer(&place);
    producer.push(frame().pts(0));
    producer.push(frame().pts(MS).delta());
    producer.until_stats("sink", "both frames are published", |stats| {
        stats.number("published") == 2
    });
    let mut client = client(&place, "");
    client.until_stats("src", "one frame is skipped", |stats| {
        stats.number("skipped") > 0
    });
    let started = Instant::now();
    let mut number = 2;
    until("a warning is posted", || {
        producer.push(frame().pts(number * MS).delta());
        number += 1;
        warnings(&mut client) > 0
    });
    assert!(started.elapsed() > Duration::from_secs(4));
    let warning = client.until_message("warning").to_string();
    for part in [
        "no key frame has come",
        "wait-for-keyframe=false",
        "group-time",
    ] {
        assert!(warning.contains(part), "{warning}, not {part}");
    }
    // One request at once, and then one every two seconds.
    let count = requests(&mut producer);
    let most = started.elapsed().as_secs() as usize / 2 + 2;
    assert!((3..=most).contains(&count), "{count} of {most}");
    assert_eq!(client.stats("src").number("received"), 0);
    // It continues to wait without further warnings, until a key frame comes.
    until("one more key frame is requested", || {
        producer.push(frame().pts(9000 * MS).delta());
        requests(&mut producer) > count
    });
    producer.push(frame().pts(10_000 * MS));
    client.until_buffers("src.src", 1);
    assert_eq!(warnings(&mut client), 1);
}

/// A frame that leads to the next one takes no lease that the next one needs.
#[test]
fn a_frame_that_leads_to_the_next_does_not_keep_the_only_lease() {
    let place = Place::new();
    let mut producer = producer(&place);
    producer.push(frame().pts(0));
    producer.push(frame().pts(MS).delta());
    producer.until_stats("sink", "both frames are published", |stats| {
        stats.number("published") == 2
    });
    let mut client = client(&place, "max-leases=1 on-starved=wait copy-below=0");
    client.until_stats("src", "one frame is skipped", |stats| {
        stats.number("skipped") == 1
    });
    // Without a time, although the others have one: a box of fragmented MP4, for example.
    producer.push(frame().seed(7));
    producer.push(frame().seed(8).pts(2 * MS));
    client.until_buffers("src.src", 2);
    producer.until_buffers("sink.sink", 4);
    let sent = producer.digests("sink.sink");
    assert_eq!(client.digests("src.src"), sent[2..4]);
    assert_eq!(client.stats("src").number("copied"), 1);
}
