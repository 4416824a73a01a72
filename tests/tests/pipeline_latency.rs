//! Pipelines with latency: frames within the latency are kept, and a warning is posted if they
//! cannot be.

use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Line, Place};

/// Another branch of the pipeline, whose sink needs `milliseconds` to render, so all sinks wait for
/// it.
fn latency_of(milliseconds: u64) -> String {
    let nanoseconds = milliseconds * 1_000_000;
    format!(
        "audiotestsrc is-live=true ! fakesink name=other async=false sync=true \
         render-delay={nanoseconds}"
    )
}

/// Plays a live source at a sink that shows frames `latency` milliseconds late, and checks that no
/// frame is missed.
fn nothing_is_missed(source: &str, behind: &str, latency: u64, buffers: usize) -> Line {
    let place = Place::new();
    let _camera = Pipeline::play(
        &place,
        &[],
        &format!("{source} ! xmemsink name=sink channel=cam0"),
    );
    let client = format!(
        "xmemsrc name=src channel=cam0 {behind} ! fakesink name=out sync=true {}",
        latency_of(latency)
    );
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    client.until_buffers("out.sink", buffers);
    let stats = client.stats("src");
    assert_eq!(stats.number("missed"), 0, "{stats}");
    assert!(client.messages().is_empty(), "{:?}", client.messages());
    stats
}

fn camera(size: &str, fps: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=black ! video/x-raw,format=NV12,{size},framerate={fps}/1"
    )
}

const SMALL: &str = "width=320,height=240";

#[test]
fn frames_are_kept_for_half_a_second_of_latency() {
    let stats = nothing_is_missed(&camera(SMALL, 60), "", 500, 150);
    assert!(stats.number("backlog") >= 33, "{stats}");
    nothing_is_missed(&camera(SMALL, 30), "", 500, 60);
    nothing_is_missed(&camera(SMALL, 120), "", 500, 240);
}

#[test]
fn frames_are_kept_behind_a_queue_too() {
    let stats = nothing_is_missed(&camera(SMALL, 60), "! queue", 500, 150);
    // These are the frames themselves, and not copies.
    assert!(stats.number("leases") > 30, "{stats}");
    assert!(stats.number("copied") < 20, "{stats}");
    nothing_is_missed(&camera(SMALL, 120), "! queue", 200, 240);
}

#[test]
fn large_frames_are_kept_too() {
    nothing_is_missed(&camera("width=1920,height=1080", 60), "", 500, 120);
}

#[test]
fn sound_in_small_buffers_is_kept() {
    for (samples, latency) in [(48, 500), (96, 200), (240, 500), (960, 500)] {
        let sound = format!(
            "audiotestsrc is-live=true samplesperbuffer={samples} \
             ! audio/x-raw,format=S16LE,rate=48000,channels=2"
        );
        let buffers = 48 * 1500 / samples;
        let stats = nothing_is_missed(&sound, "", latency, buffers);
        assert!(stats.number("copied") > 0, "{stats}");
    }
}

#[test]
fn too_little_memory_for_the_latency_is_reported_before_and_when_frames_are_missed() {
    let place = Place::new();
    let mut camera = Pipeline::play(
        &place,
        &[],
        &format!(
            "{} ! xmemsink name=sink channel=cam0 max-bytes=2500000",
            camera(SMALL, 60)
        ),
    );
    let client = format!(
        "xmemsrc name=src channel=cam0 ! fakesink name=out sync=true {}",
        latency_of(500)
    );
    let mut client = Pipeline::play(&place, &[], &client);
    // The check of GStreamer itself.
    let warning = client.until_message("warning");
    assert_eq!(warning.text("kind"), "Core.Clock", "{warning}");
    let missed = client.until("the source reports missed frames", |line| {
        line.get("text").is_some_and(|text| text.contains("Missed"))
    });
    for word in ["latency of", "max-bytes", "xmemsink"] {
        assert!(missed.text("text").contains(word), "{missed}");
    }
    // The warning is posted once.
    client.until_stats("src", "many frames are missed", |stats| {
        stats.number("missed") > 50
    });
    let told = client.messages().into_iter();
    let told = told.filter(|message| message.contains("Missed"));
    assert_eq!(told.count(), 1);
    assert!(camera.stats("sink").number("memory") <= 2_500_000);
}

#[test]
fn a_source_whose_frames_are_all_held_copies_and_says_so_once() {
    let place = Place::new();
    let camera = format!("{} ! xmemsink channel=cam0", camera(SMALL, 60));
    let _camera = Pipeline::play(&place, &[], &camera);
    let client = "xmemsrc name=src channel=cam0 max-leases=3 ! fakesink name=out \
                  enable-last-sample=false";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 5);
    // As an application does that keeps frames.
    client.hold("out.sink", 100);
    let told = client.until_message("info");
    let text = told.text("text");
    assert!(
        text.contains("copied") && text.contains("max-leases"),
        "{text}"
    );
    client.until_buffers("out.sink", 120);
    let stats = client.stats("src");
    assert_eq!(stats.number("missed"), 0, "{stats}");
    assert!(stats.number("copied") >= 50, "{stats}");
    assert_eq!(stats.number("copied"), stats.number("starved"), "{stats}");
    client.hold("out.sink", 0);
    let copied = client.stats("src").number("copied");
    let mark = client.mark();
    client.until_buffers_since(mark, "out.sink", 30);
    let stats = client.stats("src");
    assert!(stats.number("copied") < copied + 10, "{stats}");
    assert_eq!(client.messages().len(), 1, "{:?}", client.messages());
}

#[test]
fn downstream_that_gathers_gets_more_leases() {
    let place = Place::new();
    let camera = format!("{} ! xmemsink name=sink channel=cam0", camera(SMALL, 60));
    let mut camera = Pipeline::play(&place, &[], &camera);
    let client = "xmemsrc name=src channel=cam0 ! queue max-size-buffers=0 max-size-bytes=0 \
                  max-size-time=3000000000 min-threshold-time=2000000000 \
                  ! fakesink name=out enable-last-sample=false";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 100);
    let stats = client.stats("src");
    assert_eq!(stats.number("missed"), 0, "{stats}");
    assert!(stats.number("leases") >= 100, "{stats}");
    assert!(client.messages().is_empty(), "{:?}", client.messages());
    // The producer frees the memory when that client has left.
    let memory = camera.stats("sink").number("memory");
    client.end();
    camera.until_stats("sink", "the memory is released", |stats| {
        stats.number("memory") < memory / 2
    });
}
