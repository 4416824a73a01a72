//! Which element writes a frame, and how many times: upstream, once, directly into a slot; if that
//! is not possible, the sink copies it once and reports that.

use std::path::PathBuf;

use tempfile::TempDir;
use xmem_tests::launched::Launched;
use xmem_tests::pipeline::{LOSSLESS, Pipeline, State};
use xmem_tests::process::page_faults;
use xmem_tests::{Line, Place, process, until};

/// Runs `producer`, whose sink has the name `sink`, with a client from start to EOS. Returns the
/// buffers of the sink and of the client, and the statistics of the sink.
fn exchange(producer: &str) -> (Vec<Line>, Vec<Line>, Line) {
    let place = Place::new();
    let mut producer = Pipeline::start(&place, &["inspect sink.sink"], producer);
    producer.change(State::Ready);
    let client = "xmemsrc channel=cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["inspect out.sink"], client);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    producer.until_eos();
    client.until_eos();
    let owned = |lines: Vec<&Line>| lines.into_iter().cloned().collect();
    (
        owned(producer.buffers("sink.sink")),
        owned(client.buffers("out.sink")),
        producer.stats("sink"),
    )
}

fn digests(buffers: &[Line]) -> Vec<&str> {
    buffers.iter().map(|line| line.text("digest")).collect()
}

fn all_zero_copy(stats: &Line, frames: u64) {
    assert_eq!(stats.number("copied"), 0, "{stats}");
    assert_eq!(stats.number("copied-bytes"), 0, "{stats}");
    assert_eq!(stats.number("zero-copy"), frames, "{stats}");
    assert_eq!(stats.number("published"), frames, "{stats}");
}

fn all_copied_once(stats: &Line, buffers: &[Line]) {
    let frames = buffers.len() as u64;
    let bytes: u64 = buffers.iter().map(|line| line.number("size")).sum();
    assert_eq!(stats.number("copied"), frames, "{stats}");
    assert_eq!(stats.number("copied-bytes"), bytes, "{stats}");
    assert_eq!(stats.number("zero-copy"), 0, "{stats}");
    assert_eq!(stats.number("published"), frames, "{stats}");
}

#[test]
fn videotestsrc_writes_straight_into_slots() {
    for caps in [
        "format=RGB,width=640,height=480",
        "format=I420,width=641,height=359",
        "format=NV12,width=318,height=242",
        "format=GRAY16_LE,width=101,height=77",
        "format=v210,width=100,height=20",
    ] {
        let (sent, received, stats) = exchange(&format!(
            "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,{caps},framerate=30/1 \
             ! xmemsink name=sink channel=cam0 {LOSSLESS}"
        ));
        assert_eq!(digests(&received), digests(&sent), "{caps}");
        all_zero_copy(&stats, 60);
    }
}

/// Video with references in both directions, so that a decoder holds many frames, in a size that is
/// not a multiple of its block size.
fn clip(directory: &TempDir, frames: u32) -> PathBuf {
    let path = directory.path().join("clip.h264");
    let (status, output) = Launched::start(
        &Place::new(),
        &format!(
            "videotestsrc num-buffers={frames} pattern=ball \
             ! video/x-raw,format=I420,width=322,height=242,framerate=30/1 \
             ! x264enc bframes=3 ref=4 b-pyramid=true speed-preset=veryfast \
             ! video/x-h264,stream-format=byte-stream ! filesink location={}",
            path.display()
        ),
    )
    .wait();
    assert!(status.success(), "{output}");
    path
}

fn decode(path: &std::path::Path) -> String {
    format!(
        "filesrc location={} ! h264parse ! avdec_h264",
        path.display()
    )
}

/// The digests of a clip decoded without xmem.
fn decoded_plainly(path: &std::path::Path) -> Vec<String> {
    let description = format!("{} ! fakesink name=out", decode(path));
    let mut plain = Pipeline::play(&Place::new(), &["report out.sink"], &description);
    plain.until_eos();
    let digests = plain.digests("out.sink").into_iter();
    digests.map(str::to_owned).collect()
}

#[test]
fn a_decoder_writes_straight_into_slots() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, 150);
    let plain = decoded_plainly(&path);
    assert_eq!(plain.len(), 150);
    let (sent, received, stats) = exchange(&format!(
        "{} ! xmemsink name=sink channel=cam0 {LOSSLESS}",
        decode(&path)
    ));
    assert_eq!(digests(&sent), plain);
    assert_eq!(digests(&received), plain);
    all_zero_copy(&stats, 150);
    // The client receives the layout of the decoder, with the padding that it needs around the
    // picture.
    let layout = [
        "video-size",
        "video-strides",
        "video-offsets",
        "video-padding",
    ];
    for field in layout {
        assert_eq!(received[0].text(field), sent[0].text(field), "{field}");
    }
    assert_eq!(received[0].text("video-size"), "322x242");
    // Since GStreamer 1.28 the decoder has padded memory of its own and writes here when a picture
    // is complete.
    if gst::version() < (1, 27, 0, 0) {
        assert_ne!(received[0].text("video-padding"), "0,0,0,0");
    }
}

#[test]
fn a_decoder_writes_straight_into_slots_in_real_time_too() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, 60);
    let plain = decoded_plainly(&path);
    let (_, received, stats) = exchange(&format!(
        "{} ! xmemsink name=sink channel=cam0 sync=true overflow=block",
        decode(&path)
    ));
    assert_eq!(digests(&received), plain);
    all_zero_copy(&stats, 60);
}

#[test]
fn behind_a_tee_a_frame_is_copied_once() {
    for caps in [
        "format=RGB,width=639,height=480",
        "format=I420,width=641,height=359",
        "format=NV12,width=1918,height=1078",
    ] {
        let (sent, received, stats) = exchange(&format!(
            "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,{caps},framerate=30/1 \
             ! tee name=tee tee. ! queue ! xmemsink name=sink channel=cam0 {LOSSLESS} \
             tee. ! queue ! fakesink"
        ));
        assert_eq!(digests(&received), digests(&sent), "{caps}");
        all_copied_once(&stats, &sent);
    }
}

#[test]
fn a_decoders_frames_behind_a_tee_are_copied_with_their_planes() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, 60);
    let plain = decoded_plainly(&path);
    let (sent, received, stats) = exchange(&format!(
        "{} ! tee name=tee tee. ! queue ! xmemsink name=sink channel=cam0 {LOSSLESS} \
         tee. ! queue ! fakesink",
        decode(&path)
    ));
    assert_eq!(digests(&received), plain);
    all_copied_once(&stats, &sent);
}

#[test]
fn two_sinks_behind_a_tee_copy_a_frame_once_each() {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &["report a.sink", "report b.sink"],
        &format!(
            "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=161,height=121 \
             ! tee name=tee tee. ! queue ! xmemsink name=a channel=cam0 {LOSSLESS} \
             tee. ! queue ! xmemsink name=b channel=cam1 {LOSSLESS}"
        ),
    );
    producer.change(State::Ready);
    let mut clients = ["cam0", "cam1"].map(|channel| {
        let client = format!("xmemsrc channel={channel} ! fakesink name=out");
        Pipeline::play(&place, &["report out.sink"], &client)
    });
    producer.until_clients("a", 1);
    producer.until_clients("b", 1);
    producer.change(State::Playing);
    producer.until_eos();
    for (client, sink) in clients.iter_mut().zip(["a", "b"]) {
        client.until_eos();
        let sent = producer.digests(&format!("{sink}.sink"));
        assert_eq!(client.digests("out.sink"), sent);
        assert_eq!(producer.stats(sink).number("copied"), 50);
    }
}

#[test]
fn system_memory_is_copied_once() {
    for source in [
        "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width=641,height=359 \
         ! identity drop-allocation=true",
        "audiotestsrc num-buffers=30 ! audio/x-raw,format=S16LE,rate=48000,channels=2",
    ] {
        let (sent, received, stats) = exchange(&format!(
            "{source} ! xmemsink name=sink channel=cam0 {LOSSLESS}"
        ));
        assert_eq!(digests(&received), digests(&sent), "{source}");
        assert_eq!(received.len(), 30, "{source}");
        let zero_copy = stats.number("zero-copy");
        assert_eq!(stats.number("copied") + zero_copy, 30, "{stats}");
    }
}

/// A file that is read in blocks of 4 KiB: the frames are in slots, the blocks are not.
#[test]
fn blocks_of_which_frames_are_made_take_no_slots() {
    const SIZE: u64 = 640 * 480 * 3;
    const FRAMES: u64 = 20;
    let place = Place::new();
    let file = place.path().join("frames");
    let bytes: Vec<u8> = (0..FRAMES * SIZE).map(|at| (at / 977) as u8).collect();
    std::fs::write(&file, bytes).expect("a file");
    let producer = format!(
        "filesrc location={} ! queue ! rawvideoparse width=640 height=480 format=rgb \
         ! xmemsink name=sink channel=cam0 {LOSSLESS} wait-for-connection=true",
        file.display()
    );
    let mut producer = Pipeline::play(&place, &["inspect sink.sink"], &producer);
    let client = "xmemsrc channel=cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["inspect out.sink"], client);
    producer.until_eos();
    client.until_eos();
    let sent = producer.digests("sink.sink");
    assert_eq!(sent.len() as u64, FRAMES);
    assert_eq!(client.digests("out.sink"), sent);
    let maps = process::maps(producer.pid(), "xmem-payload");
    let slots: usize = maps.iter().map(|map| map.len).sum();
    assert!(slots as u64 <= 20 * SIZE, "{slots} bytes");
}

#[test]
fn a_client_hands_frames_on_to_another_channel() {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &["report sink.sink"],
        &format!(
            "videotestsrc num-buffers=50 pattern=ball ! video/x-raw,format=I420,width=641,height=359 \
             ! xmemsink name=sink channel=cam0 {LOSSLESS}"
        ),
    );
    producer.change(State::Ready);
    let relay = format!("xmemsrc channel=cam0 ! xmemsink name=sink channel=cam1 {LOSSLESS}");
    let mut relay = Pipeline::start(&place, &[], &relay);
    relay.change(State::Ready);
    let client = "xmemsrc channel=cam1 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    relay.until_clients("sink", 1);
    relay.change(State::Playing);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    producer.until_eos();
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
    // The frames of the relay are in the memory of its producer, and are imported as long as the
    // relay has leases left.
    let stats = relay.stats("sink");
    assert_eq!(stats.number("published"), 50, "{stats}");
    let (imported, copied) = (stats.number("imported"), stats.number("copied"));
    assert_eq!(imported + copied, 50, "{stats}");
    assert!(imported > 0, "{stats}");
}

#[test]
fn a_client_has_no_page_faults_in_the_steady_state() {
    let place = Place::new();
    let producer = format!(
        "videotestsrc pattern=ball ! video/x-raw,format=RGB,width=640,height=480,framerate=60/1 \
         ! xmemsink name=sink channel=cam0 {LOSSLESS} wait-for-connection=true"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    // Reads every byte of every frame.
    let client = "xmemsrc channel=cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["count out.sink"], client);
    let mut until_frame = |count: u64| {
        let mut passed = 0;
        until(&format!("the client has {count} frames"), || {
            passed = client.watched("out.sink").number("count");
            passed >= count
        });
        (passed, page_faults(client.pid()))
    };
    let (first, before) = until_frame(300);
    let (last, after) = until_frame(first + 1000);
    let (frames, faults) = (last - first, after - before);
    // 0.00 per frame: this leaves room for the page faults of the orders.
    assert!(
        faults * 200 < frames,
        "{faults} page faults in {frames} frames"
    );
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied"), 0, "{stats}");
}
