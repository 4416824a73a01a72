//! `xmemsink` with frames in the memory of CUDA devices, on the stand-in for the driver.

use std::time::Duration;

use xmem_tests::fakecuda::{ALL_OWNED, FakeCuda, Mode, gstreamer_has_cuda};
use xmem_tests::peer::Peer;
use xmem_tests::pipeline::cuda::{CUDA, Pictures, digests, pictures, play, start, uncut};
use xmem_tests::pipeline::{LOSSLESS, Pipeline, Push, State};
use xmem_tests::{Place, until_some};

const FRAMES: usize = 20;

/// A source of pictures that differ.
fn source(caps: &str) -> String {
    format!("videotestsrc num-buffers={FRAMES} pattern=ball ! video/x-raw,{caps},framerate=30/1")
}

/// The same in CUDA memory.
fn uploaded(caps: &str) -> String {
    format!("{} ! cudaupload ! {CUDA}", source(caps))
}

fn sink() -> String {
    format!("xmemsink name=sink channel=cam0 {LOSSLESS}")
}

/// Starts a producer that waits for a client, and the client.
fn exchange(
    place: &Place,
    driver: &FakeCuda,
    watches: &[&str],
    description: &str,
) -> (Pipeline, Peer<Pictures>) {
    let mut producer = start(place, driver, watches, description);
    producer.change(State::Ready);
    let client = pictures(place, driver, "");
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    (producer, client)
}

#[test]
fn pictures_cross_as_they_are() {
    if !gstreamer_has_cuda() {
        return;
    }
    for caps in [
        "format=NV12,width=320,height=240",
        "format=NV12,width=322,height=242",
        "format=NV12,width=321,height=243",
        // Of odd heights, GStreamer 1.22 uploads a part of the colours only.
        "format=I420,width=321,height=242",
        "format=P010_10LE,width=66,height=50",
        "format=RGBA,width=65,height=49",
        "format=BGR,width=63,height=47",
        "format=Y444,width=33,height=31",
        "format=RGBP,width=34,height=22",
        "format=YUY2,width=64,height=21",
    ] {
        let (place, driver) = (Place::new(), FakeCuda::new());
        let description = format!("{} ! {}", uploaded(caps), sink());
        let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
        let ended = client.ask(Pictures::Run(u64::MAX));
        assert_eq!(digests(&ended), uncut(&source(caps)), "{caps}");
        producer.until_eos();
        let stats = producer.stats("sink");
        assert_eq!(stats.number("published"), FRAMES as u64, "{stats}");
        assert_eq!(stats.number("copied"), 0, "{stats}");
        assert_eq!(stats.text("storage"), "memory:CUDAMemory", "{stats}");
        assert_eq!(
            stats.number("copied-device") + stats.number("zero-copy"),
            FRAMES as u64,
            "{stats}"
        );
    }
}

/// Whether upstream can write straight into slots: since GStreamer 1.24.
fn has_pool() -> bool {
    gst::init().expect("GStreamer can be initialized");
    gst::version() >= (1, 24, 0, 0)
}

const NV12: &str = "format=NV12,width=320,height=240";

#[test]
fn frames_are_copied_once_at_most() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!("{} ! {}", uploaded(NV12), sink());
    let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
    client.ask(Pictures::Run(u64::MAX));
    producer.until_eos();
    let stats = producer.stats("sink");
    let (frames, size) = (FRAMES as u64, stats.number("slot-size"));
    // Each frame is uploaded in two planes; a copy in the device has both.
    let copies = driver.calls("cuMemcpy2DAsync_v2").len() as u64;
    if has_pool() {
        assert_eq!(stats.number("zero-copy"), frames, "{stats}");
        assert_eq!(stats.number("copied-device"), 0, "{stats}");
        assert_eq!(copies, frames * 2);
    } else {
        assert_eq!(stats.number("copied-device"), frames, "{stats}");
        assert!(
            stats.number("copied-device-bytes") <= frames * size,
            "{stats}"
        );
        assert_eq!(copies, frames * 3);
    }
    assert_eq!(stats.number("gpu-pending"), 0, "{stats}");
    assert_eq!(stats.number("dropped"), 0, "{stats}");
    producer.end();
    driver.assert_nothing_left(producer.pid(), &ALL_OWNED);
}

#[test]
fn a_picture_that_others_read_is_copied() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!(
        "{} ! tee name=t ! queue ! {} t. ! queue ! cudadownload ! videoconvert ! \
         video/x-raw,{NV12} ! fakesink name=other sync=false",
        uploaded(NV12),
        sink()
    );
    let watches = ["report other.sink"];
    let (mut producer, mut client) = exchange(&place, &driver, &watches, &description);
    let ended = client.ask(Pictures::Run(u64::MAX));
    producer.until_eos();
    let expected = uncut(&source(NV12));
    assert_eq!(digests(&ended), expected);
    assert_eq!(producer.digests("other.sink"), expected);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("copied-device"), FRAMES as u64, "{stats}");
}

#[test]
fn caps_change_in_size_and_memory() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let parts = [
        (NV12, true),
        ("format=NV12,width=160,height=120", true),
        ("format=RGBA,width=640,height=480", true),
        (NV12, false),
        ("format=I420,width=322,height=242", true),
        ("format=I420,width=64,height=48", false),
        (NV12, true),
    ];
    let mut description = format!("concat name=c ! {}", sink());
    let mut expected = Vec::new();
    for (caps, is_on_device) in parts {
        let part = match is_on_device {
            true => uploaded(caps),
            false => source(caps),
        };
        description += &format!(" {part} ! c.");
        expected.extend(uncut(&source(caps)));
    }
    let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
    let ended = client.ask(Pictures::Run(u64::MAX));
    assert_eq!(ended.number("missed"), 0, "{ended}");
    assert_eq!(digests(&ended), expected);
    producer.until_eos();
    let stats = producer.stats("sink");
    assert_eq!(stats.number("dropped"), 0, "{stats}");
    let frames = FRAMES as u64;
    assert_eq!(stats.number("published"), 7 * frames, "{stats}");
    let on_device = stats.number("copied-device");
    match has_pool() {
        true => assert_eq!(stats.number("zero-copy"), 7 * frames - on_device, "{stats}"),
        false => assert_eq!(on_device, 5 * frames, "{stats}"),
    }
}

/// The calls of a thread that wait for the device, and those that clear new memory, which waits once each.
fn waits(driver: &FakeCuda, thread: &str) -> (usize, usize) {
    let calls = driver.log();
    let of = |names: &[&str]| {
        let calls = calls
            .iter()
            .filter(|call| names.contains(&call.word.as_str()));
        calls
            .filter(|call| call.get("thread") == Some(thread))
            .count()
    };
    let waits = [
        "cuStreamSynchronize",
        "cuCtxSynchronize",
        "cuEventSynchronize",
    ];
    (of(&waits), of(&["cuMemsetD8Async"]))
}

#[test]
fn frames_are_whole_if_work_takes_long_and_nothing_waits() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (
        Place::new(),
        FakeCuda::new().mode(Mode::Delay(Duration::from_millis(2))),
    );
    // GStreamer 1.22 waits in cudaupload.
    let description = format!("{} ! queue name=q ! {}", uploaded(NV12), sink());
    let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
    let ended = client.ask(Pictures::Run(u64::MAX));
    assert_eq!(digests(&ended), uncut(&source(NV12)));
    producer.until_eos();
    let (waits, clears) = waits(&driver, "q:src");
    assert!(
        waits <= clears,
        "{waits} waits, {clears} pieces of memory cleared"
    );
}

#[test]
fn a_frame_is_published_when_the_device_has_written_it() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Hold));
    let description = format!(
        "videotestsrc pattern=ball ! video/x-raw,{NV12},framerate=30/1 ! cudaupload ! {CUDA} ! \
         queue name=q ! xmemsink name=sink channel=cam0 sync=false max-buffers=8"
    );
    let mut producer = start(&place, &driver, &[], &description);
    producer.change(State::Ready);
    // What the client does is not held.
    let eager = FakeCuda::new();
    let mut client = pictures(&place, &eager, "");
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    let mut control = driver.control(producer.pid());
    let mut pending = || {
        control.run(1);
        let stats = producer.stats("sink");
        (stats.number("gpu-pending") > 0).then_some(stats)
    };
    let stats = until_some("a frame waits for the device", &mut pending);
    // The work that was run last may be that of one frame, which is published now.
    let published = stats.number("published") + 1;
    for _ in 0..20 {
        let stats = producer.stats("sink");
        assert!(stats.number("published") <= published, "{stats}");
    }
    control.open();
    let mut pictures = Vec::new();
    for _ in 0..20 {
        pictures.push(client.ask(Pictures::Next(10_000)));
        client.ask(Pictures::Drop);
    }
    let expected = uncut(&format!(
        "videotestsrc num-buffers=200 pattern=ball ! video/x-raw,{NV12},framerate=30/1"
    ));
    for picture in &pictures {
        let digest = picture.text("digest").to_owned();
        assert!(expected.contains(&digest), "{picture} is torn");
    }
}

#[test]
fn nothing_is_allocated_for_a_frame() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,{NV12},framerate=200/1 ! cudaupload ! \
         {CUDA} ! queue name=q ! xmemsink name=sink channel=cam0"
    );
    let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
    let mut allocated = |frames| {
        client.ask(Pictures::Run(frames));
        let log = driver.log();
        let names = [
            "cuMemCreate",
            "cuMemMap",
            "cuMemImportFromShareableHandle",
            "cuMemsetD8Async",
        ];
        log.iter()
            .filter(|call| names.contains(&call.word.as_str()))
            .count()
    };
    let first = allocated(100);
    assert_eq!(allocated(200), first);
    let stats = producer.stats("sink");
    assert!(stats.number("published") >= 200, "{stats}");
    producer.change(State::Null);
}

#[test]
fn what_is_missing_is_named() {
    let cuda = format!("{CUDA},{NV12},framerate=30/1");
    let push = "appsrc name=src format=time ! xmemsink name=sink channel=cam0";
    // No driver.
    let mut producer = Pipeline::play(&Place::new(), &[], push);
    producer.order(Push::of(&cuda));
    let error = producer.until_message("error");
    let text = error.text("text");
    assert!(
        text.contains("memory:CUDAMemory") && text.contains("cudadownload"),
        "{error}"
    );
    assert!(
        text.contains("libcuda.so.1") || text.contains("libgstreamer-plugins-bad"),
        "{error}"
    );
    if !gstreamer_has_cuda() {
        return;
    }
    // Other memory than the caps say.
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = play(&place, &driver, &[], push);
    producer.order(Push::of(&cuda));
    let error = producer.until_message("error");
    assert!(error.text("text").contains("cudaupload"), "{error}");
    // A format that is not known in CUDA memory.
    let mut producer = play(&Place::new(), &driver, &[], push);
    producer.order(Push::of(format!(
        "{CUDA},format=v210,width=64,height=48,framerate=30/1"
    )));
    let error = producer.until_message("error");
    assert!(error.text("text").contains("v210"), "{error}");
}

#[test]
fn a_client_without_cuda_is_refused() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!(
        "videotestsrc is-live=true ! video/x-raw,{NV12},framerate=100/1 ! cudaupload ! {CUDA} ! \
         xmemsink name=sink channel=cam0"
    );
    let mut producer = play(&place, &driver, &[], &description);
    producer.until_stats("sink", "it runs", |stats| stats.number("published") > 2);
    let mut command = std::process::Command::new(xmem_tests::program::path("xmem-test-pictures"));
    command
        .arg("device_memory=no")
        .env("XMEM_RUNTIME_DIR", place.path());
    let output = command.output().expect("the program starts");
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("GPU"), "{output}");
    let mut client = pictures(&place, &driver, "");
    producer.until_clients("sink", 1);
    let picture = client.ask(Pictures::Next(10_000));
    let stats = producer.stats("sink");
    assert_eq!(stats.text("device"), picture.text("device"), "{stats}");
    assert_eq!(stats.number("clients"), 1, "{stats}");
}

#[test]
fn the_channel_follows_the_device_of_upstream() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new().devices(2));
    let on = |device: u32, sink: &str| {
        format!(
            "videotestsrc is-live=true pattern=ball ! video/x-raw,{NV12},framerate=100/1 ! \
             cudaupload cuda-device-id={device} ! {CUDA} ! xmemsink name=sink channel=cam0 {sink}"
        )
    };
    let mut devices = Vec::new();
    for device in 0..2 {
        let mut producer = play(&place, &driver, &[], &on(device, ""));
        producer.until_stats("sink", "it runs", |stats| stats.number("published") > 2);
        let mut client = pictures(&place, &driver, "");
        devices.push(client.ask(Pictures::Next(10_000)).text("device").to_owned());
        producer.end();
    }
    assert_ne!(devices[0], devices[1]);
    let mut producer = play(&place, &driver, &[], &on(0, "cuda-device-id=1"));
    let error = producer.until_message("error");
    let text = error.text("text");
    assert!(
        devices.iter().all(|device| text.contains(device)),
        "{error}"
    );
    assert!(text.contains("cuda-device-id"), "{error}");
}

#[test]
fn frames_outlive_a_producer_that_is_killed_and_the_producer_its_clients() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,{NV12},framerate=100/1 ! cudaupload ! \
         {CUDA} ! xmemsink name=sink channel=cam0"
    );
    let mut producer = play(&place, &driver, &[], &description);
    let mut client = pictures(&place, &driver, "");
    let mut other = pictures(&place, &driver, "");
    producer.until_clients("sink", 2);
    let kept = client.ask(Pictures::Next(10_000));
    other.ask(Pictures::Next(10_000));
    other.kill();
    producer.until_clients_since(producer.mark(), "sink", 1);
    let mark = producer.stats("sink").number("published");
    producer.until_stats("sink", "it goes on", |stats| {
        stats.number("published") > mark + 10
    });
    producer.kill();
    let again = client.ask(Pictures::Again);
    assert_eq!(again.text("digest"), kept.text("digest"));
    // The next producer takes the channel over.
    let mut next = play(&place, &driver, &[], &description);
    let mut client = pictures(&place, &driver, "");
    next.until_clients("sink", 1);
    client.ask(Pictures::Next(10_000));
}

#[test]
fn a_device_without_memory_is_an_error_that_says_so() {
    if !gstreamer_has_cuda() {
        return;
    }
    let place = Place::new();
    // Upstream has memory for pictures, and there is none for slots.
    let driver = FakeCuda::new().with("FAKECUDA_FAIL", "cuMemCreate:2,cuMemAlloc_v2:2");
    let description = format!("{} ! {}", uploaded(NV12), sink());
    let mut producer = play(&place, &driver, &[], &description);
    let error = producer.until_message("error");
    assert_eq!(error.text("kind"), "Resource.NoSpaceLeft", "{error}");
}

#[test]
fn a_process_in_the_middle_passes_frames_on() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let description = format!("{} ! {}", uploaded(NV12), sink());
    let mut producer = start(&place, &driver, &[], &description);
    producer.change(State::Ready);
    let middle =
        format!("xmemsrc channel=cam0 ! {CUDA} ! xmemsink name=sink channel=cam1 {LOSSLESS}");
    let mut middle = start(&place, &driver, &[], &middle);
    middle.change(State::Ready);
    let mut client = pictures(&place, &driver, "channel=cam1");
    middle.until_clients("sink", 1);
    middle.change(State::Playing);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    let ended = client.ask(Pictures::Run(u64::MAX));
    assert_eq!(digests(&ended), uncut(&source(NV12)));
    middle.until_eos();
    let stats = middle.stats("sink");
    assert_eq!(stats.text("storage"), "memory:CUDAMemory", "{stats}");
    // Before GStreamer 1.24, frames can be no memory of GStreamer's. Since then a frame is copied if
    // xmemsrc would have too few leases left.
    let (imported, copied) = (stats.number("imported"), stats.number("copied-device"));
    assert_eq!(imported + copied, FRAMES as u64, "{stats}");
    assert_eq!(imported > 0, has_pool(), "{stats}");
}

#[test]
fn a_client_of_pipelines_that_do_not_match_is_told_what_to_insert() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let source = format!("videotestsrc is-live=true ! video/x-raw,{NV12},framerate=100/1");
    let cases = [
        ("gpu", "cudaupload", "video/x-raw", "cudadownload"),
        ("cpu", "identity", CUDA, "cudaupload"),
    ];
    for (channel, upload, caps, missing) in cases {
        let producer = format!("{source} ! {upload} ! xmemsink name=sink channel={channel}");
        let producer = match upload {
            "cudaupload" => producer.replace("! xmemsink", &format!("! {CUDA} ! xmemsink")),
            _ => producer,
        };
        let mut producer = play(&place, &driver, &[], &producer);
        producer.until_stats("sink", "it runs", |stats| stats.number("published") > 2);
        let client = format!("xmemsrc channel={channel} ! {caps} ! fakesink");
        let mut client = play(&place, &driver, &[], &client);
        let error = client.until_message("error");
        assert!(error.text("text").contains(missing), "{error}");
        // The producer goes on.
        let published = producer.stats("sink").number("published");
        producer.until_stats("sink", "it goes on", |stats| {
            stats.number("published") > published + 5
        });
    }
}
