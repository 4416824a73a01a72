//! Lossless mode: with `overflow=block`, and clients that are connected from the start, every frame
//! arrives at every client, byte for byte.

use std::collections::BTreeSet;

use xmem_tests::Place;
use xmem_tests::pipeline::{CLIENT, Pipeline, State};

const FRAMES: usize = 500;
const CLIENTS: u64 = 4;

/// Runs a producer of [`FRAMES`] buffers, and compares what its sink accepted with what each client
/// received.
fn every_buffer_arrives(producer: &str) -> Vec<u64> {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &["report sink.sink"],
        &format!(
            "{producer} ! xmemsink name=sink channel=cam0 sync=false overflow=block \
             block-timeout=20000000000 wait-for-connection=true"
        ),
    );
    // The channel exists from READY on.
    producer.change(State::Ready);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| Pipeline::play(&place, &["report out.sink"], CLIENT))
        .collect();
    producer.until_clients("sink", CLIENTS);
    producer.change(State::Playing);
    producer.until_eos();
    let sent = producer.digests("sink.sink");
    assert_eq!(sent.len(), FRAMES);
    for client in &mut clients {
        client.until_eos();
        assert_eq!(client.digests("out.sink"), sent);
        let stats = client.stats("src");
        assert_eq!(stats.number("received"), FRAMES as u64, "{stats}");
        assert_eq!(stats.number("missed"), 0, "{stats}");
    }
    let distinct = sent.iter().collect::<BTreeSet<_>>().len();
    assert!(
        distinct > FRAMES / 2,
        "{distinct} different frames are too few"
    );
    let buffers = producer.buffers("sink.sink");
    let sizes = buffers.iter().map(|line| line.number("size")).collect();
    let stats = producer.stats("sink");
    assert_eq!(stats.number("published"), FRAMES as u64, "{stats}");
    assert_eq!(stats.number("dropped"), 0, "{stats}");
    for number in 0..CLIENTS {
        let missed = stats.number(&format!("client-{number}-missed"));
        assert_eq!(missed, 0, "{stats}");
    }
    sizes
}

fn every_picture_arrives(caps: &str) {
    let sizes = every_buffer_arrives(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=ball ! video/x-raw,{caps},framerate=60/1"
    ));
    assert!(sizes.iter().all(|size| *size == sizes[0]));
}

#[test]
fn rgb_of_1920_by_1080_arrives_whole_at_four_clients() {
    every_picture_arrives("format=RGB,width=1920,height=1080");
}

#[test]
fn nv12_of_1918_by_1078_arrives_whole_at_four_clients() {
    every_picture_arrives("format=NV12,width=1918,height=1078");
}

#[test]
fn i420_of_odd_size_arrives_whole_at_four_clients() {
    every_picture_arrives("format=I420,width=641,height=359");
}

#[test]
fn grey_of_16_bits_arrives_whole_at_four_clients() {
    every_picture_arrives("format=GRAY16_LE,width=640,height=480");
}

#[test]
fn compressed_video_of_any_size_arrives_whole_at_four_clients() {
    let sizes = every_buffer_arrives(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=ball ! video/x-raw,width=320,height=240 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 \
         ! video/x-h264,stream-format=byte-stream"
    ));
    let sizes = sizes.into_iter().collect::<BTreeSet<_>>();
    assert!(sizes.len() > 50, "these sizes vary little: {sizes:?}");
}
