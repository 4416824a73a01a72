//! `xmemsrc` with frames in the memory of CUDA devices, on the stand-in for the driver.

use std::fs;
use std::path::{Path, PathBuf};

use xmem_tests::fakecuda::{FakeCuda, OWNED, gstreamer_has_cuda};
use xmem_tests::gpu::{self, CHANNEL, Picture, Produce, written};
use xmem_tests::peer::Peer;
use xmem_tests::pipeline::{LOSSLESS, Order, Pipeline, State};
use xmem_tests::{Line, Place, until};

const NV12: &str = "format=NV12,width=320,height=240";

/// Whether frames reach downstream as they are: since GStreamer 1.24. Before, the device copies them.
fn has_no_copy() -> bool {
    gst::init().expect("GStreamer can be initialized");
    gst::version() >= (1, 24, 0, 0)
}

/// A producer of pictures, and its clients.
struct Channel {
    place: Place,
    driver: FakeCuda,
    producer: Peer<Produce>,
}

impl Channel {
    fn open() -> Channel {
        Channel::with(FakeCuda::new(), "slots=4 block=20000")
    }

    fn with(driver: FakeCuda, settings: &str) -> Channel {
        let place = Place::new();
        let producer = gpu::producer(&place, &driver, settings);
        Channel {
            place,
            driver,
            producer,
        }
    }

    /// Announces pictures in memory of the device.
    fn announce(&mut self, caps: &str) {
        announce(&mut self.producer, &format!("(memory:CUDAMemory),{caps}"));
    }

    fn publish(&mut self, picture: Picture) {
        self.producer.ask(Produce::Picture(picture));
    }

    /// Starts a pipeline, once the producer has `clients` with it.
    fn play(&mut self, clients: u64, watches: &[&str], description: &str) -> Pipeline {
        let pipeline = self.launch(watches, description);
        self.until_clients(clients);
        pipeline
    }

    fn launch(&self, watches: &[&str], description: &str) -> Pipeline {
        let mut pipeline = Pipeline::start_as(&self.place, watches, description, |mut command| {
            self.driver.apply_to_gstreamer(&mut command);
            command
        });
        pipeline.change(State::Playing);
        pipeline
    }

    fn until_clients(&mut self, clients: u64) {
        until("the client is connected", || {
            self.producer.ask(Produce::Stats).number("clients") == clients
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The description of a sink that writes a file. Without caps, `cudadownload` would pass CUDA memory on.
    fn sink(&self, name: &str) -> String {
        let file = self.file(name);
        format!(
            "video/x-raw ! filesink buffer-mode=unbuffered location={}",
            file.display()
        )
    }

    /// The pictures in a file.
    fn written(&self, name: &str, caps: &str) -> Vec<Vec<u8>> {
        whole(&self.file(name), caps)
    }
}

/// The pictures in a file that may be written meanwhile.
fn whole(file: &Path, caps: &str) -> Vec<Vec<u8>> {
    written(caps, &fs::read(file).unwrap_or_default())
}

fn announce(producer: &mut Peer<Produce>, caps: &str) {
    let caps = format!("video/x-raw{caps},framerate=30/1");
    producer.ask(Produce::Format(caps));
}

fn source() -> String {
    format!("xmemsrc name=src channel={CHANNEL}")
}

/// The text of the error that a pipeline posts.
fn error(pipeline: &mut Pipeline) -> String {
    pipeline.until_message("error").text("text").to_owned()
}

#[test]
fn pictures_are_downloaded_as_they_are() {
    if !gstreamer_has_cuda() {
        return;
    }
    let all = [
        "format=NV12,width=320,height=240",
        "format=NV12,width=322,height=242",
        "format=I420,width=321,height=243",
        "format=P010_10LE,width=66,height=50",
        "format=RGBA,width=65,height=49",
        "format=BGR,width=63,height=47",
        "format=Y444,width=33,height=31",
    ];
    for caps in all {
        let mut channel = Channel::open();
        channel.announce(caps);
        let name = "frames";
        let mut client = channel.play(
            1,
            &[],
            &format!(
                "{} ! cudadownload ! video/x-raw,{caps} ! videoconvert ! {}",
                source(),
                channel.sink(name)
            ),
        );
        let usable = Picture::in_cuda(caps);
        let others = [
            Picture::usual(caps),
            // Rows of other lengths than GStreamer allocates.
            Picture::with_strides(caps, |usual| usual + 24),
            Picture {
                size: usable.size - 8,
                ..usable.clone()
            },
        ];
        let pictures: Vec<_> = (0..3)
            .map(|seed| usable.clone().seed(seed))
            .chain(others)
            .collect();
        for picture in &pictures {
            channel.publish(picture.clone());
        }
        let stats = client.until_stats("src", "all frames are received", |stats| {
            stats.number("received") == pictures.len() as u64
        });
        let (copied, missed) = (stats.number("copied-device"), stats.number("missed"));
        if has_no_copy() {
            // The last one, and perhaps the two before it.
            assert!((1..=3).contains(&copied), "{caps}: {stats}");
        } else {
            assert_eq!(copied, pictures.len() as u64, "{caps}: {stats}");
        }
        assert_eq!((missed, stats.number("copied")), (0, 0), "{stats}");
        assert_eq!(stats.text("storage"), "memory:CUDAMemory");
        assert!(stats.text("device").starts_with("GPU-"), "{stats}");
        assert_eq!(stats.text("read-only-mapping"), "TRUE");
        until("all frames are written", || {
            channel.written(name, caps).len() == pictures.len()
        });
        client.end();
        for (picture, written) in pictures.iter().zip(channel.written(name, caps)) {
            assert!(picture.pixels() == written, "{caps}: {picture:?}");
        }
    }
}

#[test]
fn elements_that_take_any_caps_get_cuda_memory() {
    if !gstreamer_has_cuda() {
        return;
    }
    for sink in [
        "fakesink",
        "appsink max-buffers=2 drop=true",
        "tee ! fakesink",
    ] {
        let mut channel = Channel::open();
        channel.announce(NV12);
        let watches = ["report src.src"];
        let mut client = channel.play(1, &watches, &format!("{} ! {sink}", source()));
        for seed in 0..3 {
            channel.publish(Picture::in_cuda(NV12).seed(seed));
        }
        client.until_buffers("src.src", 3);
        let caps = client.caps("src.src");
        assert!(
            caps[0].starts_with("video/x-raw(memory:CUDAMemory)"),
            "{caps:?}"
        );
    }
}

#[test]
fn elements_that_take_system_memory_need_cudadownload() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let mut client = channel.launch(&[], &format!("{} ! video/x-raw ! fakesink", source()));
    let text = error(&mut client);
    assert!(text.contains("put cudadownload after xmemsrc"), "{text}");
    assert!(text.contains("GPU"), "{text}");
    // That client has loaded nothing.
    let pid = u64::from(client.pid());
    assert!(
        channel
            .driver
            .log()
            .iter()
            .all(|line| line.number("pid") != pid)
    );
    // Elements that take other pictures in CUDA memory.
    let other = "video/x-raw(memory:CUDAMemory),format=RGBA";
    let mut client = channel.launch(&[], &format!("{} ! {other} ! fakesink", source()));
    channel.until_clients(1);
    channel.publish(Picture::in_cuda(NV12));
    let text = error(&mut client);
    assert!(text.contains("cudaconvert"), "{text}");
}

#[test]
fn without_a_driver_the_error_says_what_is_missing() {
    let mut channel = Channel::open();
    channel.announce(NV12);
    channel.publish(Picture::in_cuda(NV12));
    let client = format!("{} ! fakesink", source());
    let mut client = Pipeline::play(&channel.place, &[], &client);
    let text = error(&mut client);
    assert!(text.contains("libcuda"), "{text}");
    assert!(text.contains("put cudadownload before xmemsink"), "{text}");
}

#[test]
fn a_write_makes_a_copy() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let mut client = channel.play(1, &["inspect src.src"], &format!("{} ! fakesink", source()));
    let picture = Picture::in_cuda(NV12);
    channel.publish(picture.clone());
    client.until_buffers("src.src", 1);
    let buffer = client.buffers("src.src")[0].clone();
    if has_no_copy() {
        assert_eq!(buffer.text("write-to-memory"), "refused", "{buffer}");
        assert_eq!(buffer.text("write-to-buffer"), "copies", "{buffer}");
        assert_eq!(buffer.text("video-strides"), "512,512", "{buffer}");
        assert_eq!(buffer.text("video-offsets"), "0,122880", "{buffer}");
    }
    assert_eq!(buffer.text("changed"), "false", "{buffer}");
}

#[test]
fn branches_and_clients_get_the_same_frames() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let branch = |name: &str| format!("queue ! cudadownload ! {}", channel.sink(name));
    let tee = format!(
        "{} ! tee name=t ! {} t. ! {}",
        source(),
        branch("a"),
        branch("b")
    );
    let other = format!("{} ! {}", source(), branch("c"));
    let mut tee = channel.play(1, &[], &tee);
    let mut other = channel.play(2, &[], &other);
    let mut pixels = Vec::new();
    for seed in 0..20 {
        let picture = Picture::in_cuda(NV12).seed(seed);
        pixels.push(picture.pixels());
        channel.publish(picture);
    }
    channel.producer.ask(Produce::End);
    tee.until_eos();
    other.until_eos();
    for name in ["a", "b", "c"] {
        assert!(channel.written(name, NV12) == pixels, "{name}");
    }
}

#[test]
fn a_process_in_the_middle_passes_frames_on() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let middle = format!("{} ! xmemsink name=sink channel=gpu1 {LOSSLESS}", source());
    let mut middle = channel.play(1, &[], &middle);
    let client = "xmemsrc name=src channel=gpu1 ! cudadownload";
    let mut client = channel.launch(&[], &format!("{client} ! {}", channel.sink("frames")));
    middle.until_clients("sink", 1);
    let mut pixels = Vec::new();
    for seed in 0..10 {
        let picture = Picture::in_cuda(NV12).seed(seed);
        pixels.push(picture.pixels());
        channel.publish(picture);
    }
    channel.producer.ask(Produce::End);
    middle.until_eos();
    client.until_eos();
    assert!(channel.written("frames", NV12) == pixels);
    // Where few leases are free, the sink copies.
    let sink = middle.stats("sink");
    let (imported, copied) = (sink.number("imported"), sink.number("copied-device"));
    assert_eq!(
        (imported + copied, sink.number("copied")),
        (10, 0),
        "{sink}"
    );
    assert_eq!(imported > 0, has_no_copy(), "{sink}");
}

#[test]
fn frames_of_a_killed_producer_are_whole() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let client = format!(
        "{} on-disconnect=eos ! cudadownload ! {}",
        source(),
        channel.sink("frames")
    );
    let mut client = channel.play(1, &[], &client);
    // The first frame, with which the client maps the memory.
    let first = Picture::in_cuda(NV12);
    channel.publish(first.clone());
    client.until_stats("src", "the first frame is received", |stats| {
        stats.number("received") == 1
    });
    client.stop();
    let mut pixels = vec![first.pixels()];
    for seed in 2..4 {
        let picture = Picture::in_cuda(NV12).seed(seed);
        pixels.push(picture.pixels());
        channel.publish(picture);
    }
    until("all frames are published", || {
        channel.producer.ask(Produce::Stats).number("published") == 3
    });
    channel.producer.kill();
    client.resume();
    client.until_eos();
    assert!(channel.written("frames", NV12) == pixels);
}

#[test]
fn layouts_that_lead_out_of_the_frame_are_refused() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let client = format!("{} ! cudadownload ! {}", source(), channel.sink("frames"));
    let mut client = channel.play(1, &[], &client);
    let good = Picture::in_cuda(NV12);
    let with = |change: fn(&mut Picture)| {
        let mut picture = good.clone();
        change(&mut picture);
        picture
    };
    let bad = [
        with(|picture| picture.offset[1] = picture.size as u64),
        with(|picture| picture.offset[1] = u64::MAX),
        with(|picture| picture.stride[0] = 0),
        with(|picture| picture.stride[1] = -512),
        with(|picture| picture.stride[0] = i32::MIN),
        with(|picture| picture.stride[0] = i32::MAX),
        with(|picture| picture.format = Some(11)),
        with(|picture| picture.stride.truncate(1)),
        with(|picture| picture.size = 16),
    ];
    let count = bad.len() as u64;
    for mut picture in bad {
        picture.offset.truncate(picture.stride.len());
        channel.publish(picture);
    }
    channel.publish(good.clone());
    channel.producer.ask(Produce::End);
    client.until_eos();
    let warning = client.until_message("warning");
    assert!(warning.text("text").contains("Missed a frame"), "{warning}");
    let stats = client.stats("src");
    assert_eq!(stats.number("missed"), count, "{stats}");
    assert!(channel.written("frames", NV12) == [good.pixels()]);
}

#[test]
fn frames_in_other_memory_than_their_caps_say_end_the_stream() {
    if !gstreamer_has_cuda() {
        return;
    }
    for in_caps in [false, true] {
        let mut channel = Channel::open();
        let feature = if in_caps { "(memory:CUDAMemory)" } else { "" };
        announce(&mut channel.producer, &format!("{feature},{NV12}"));
        let mut client = channel.play(1, &[], &format!("{} ! fakesink", source()));
        if in_caps {
            channel.producer.ask(Produce::Store(None));
        }
        channel.publish(Picture::usual(NV12));
        let text = error(&mut client);
        assert!(text.contains("CUDA"), "{text}");
    }
}

#[test]
fn a_stream_changes_its_memory() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    let client = format!("{} ! cudadownload ! {}", source(), channel.sink("frames"));
    channel.announce(NV12);
    let mut client = channel.play(1, &["count src.src"], &client);
    let mut pixels = Vec::new();
    for turn in 0..6 {
        let is_cuda = turn % 2 == 0;
        channel.producer.ask(Produce::Store(is_cuda.then_some(0)));
        let feature = if is_cuda { "(memory:CUDAMemory)" } else { "" };
        announce(&mut channel.producer, &format!("{feature},{NV12}"));
        for seed in 0..3 {
            let picture = if is_cuda {
                Picture::in_cuda(NV12)
            } else {
                Picture::usual(NV12)
            };
            let picture = picture.seed(turn * 10 + seed);
            pixels.push(picture.pixels());
            channel.publish(picture);
        }
    }
    channel.producer.ask(Produce::End);
    client.until_eos();
    assert!(channel.written("frames", NV12) == pixels);
    assert_eq!(client.caps("src.src").len(), 6);
}

#[test]
fn a_client_that_takes_no_cuda_memory_ends_when_it_comes() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.producer.ask(Produce::Store(None));
    announce(&mut channel.producer, &format!(",{NV12}"));
    let client = format!("{} ! video/x-raw ! fakesink", source());
    let mut client = channel.play(1, &["count src.src"], &client);
    channel.publish(Picture::usual(NV12));
    client.until_stats("src", "a frame is received", |stats| {
        stats.number("received") == 1
    });
    channel.producer.ask(Produce::Store(Some(0)));
    channel.announce(NV12);
    channel.publish(Picture::in_cuda(NV12));
    let text = error(&mut client);
    assert!(text.contains("put cudadownload after xmemsrc"), "{text}");
}

#[test]
fn a_source_switches_between_kinds_of_channels_and_reconnects() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let mut plain = gpu::producer(&channel.place, &channel.driver, "channel=cpu slots=4");
    plain.ask(Produce::Store(None));
    announce(&mut plain, &format!(",{NV12}"));
    let client = format!("{} ! cudadownload ! {}", source(), channel.sink("frames"));
    let mut client = channel.play(1, &[], &client);
    let file = channel.file("frames");
    let mut pixels = Vec::new();
    let mut publish = |producer: &mut Peer<Produce>, picture: Picture| {
        let picture = picture.seed(pixels.len() as u64);
        pixels.push(picture.pixels());
        let last = picture.pixels();
        producer.ask(Produce::Picture(picture));
        until("the frame is written", || {
            whole(&file, NV12).last() == Some(&last)
        });
    };
    for _ in 0..3 {
        publish(&mut channel.producer, Picture::in_cuda(NV12));
        client.order(Order::set("src", "channel", "cpu"));
        until("the client is connected", || {
            plain.ask(Produce::Stats).number("clients") == 1
        });
        publish(&mut plain, Picture::usual(NV12));
        client.order(Order::set("src", "channel", CHANNEL));
        channel.until_clients(1);
    }
    channel.producer.kill();
    channel.producer = gpu::producer(&channel.place, &channel.driver, "slots=4 block=20000");
    channel.announce(NV12);
    channel.until_clients(1);
    publish(&mut channel.producer, Picture::in_cuda(NV12));
    channel.producer.ask(Produce::End);
    client.until_eos();
    // A client that joins also gets the newest frame from before.
    let written = whole(&file, NV12);
    let mut written = written.iter();
    assert!(pixels.iter().all(|one| written.any(|other| other == one)));
}

/// The calls of the source's own threads in a process, from a line of the log on.
fn own_calls(channel: &Channel, client: &Pipeline, from: usize) -> Vec<Line> {
    let mut log = channel.driver.log().split_off(from);
    log.retain(|line| {
        line.get_number("pid") == Some(u64::from(client.pid()))
            && line
                .get("thread")
                .is_some_and(|thread| thread.starts_with("src:src"))
    });
    log
}

#[test]
fn frames_cost_no_wait_and_no_allocation() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let mut client = channel.play(1, &[], &format!("{} ! fakesink", source()));
    let mut received = 0;
    let mut run = |channel: &mut Channel, count: u64| {
        for _ in 0..count {
            received += 1;
            channel.publish(Picture::in_cuda(NV12).seed(received));
        }
        client.until_stats("src", "all frames are received", |stats| {
            stats.number("received") == received
        });
    };
    run(&mut channel, 20);
    let start = channel.driver.log().len();
    run(&mut channel, 100);
    let calls = own_calls(&channel, &client, start);
    let allowed = [
        "cuCtxPushCurrent_v2",
        "cuCtxPopCurrent_v2",
        "cuCtxGetCurrent",
        "cuCtxSetCurrent",
        "cuCtxRecordEvent",
        "cuEventRecord",
        "cuEventQuery",
        "cuMemcpy2DAsync_v2",
    ];
    let others: Vec<_> = calls
        .iter()
        .filter(|line| line.word != "work" && !allowed.contains(&line.word.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    let stats = client.stats("src");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    let copied = if has_no_copy() { 0 } else { received };
    assert_eq!(stats.number("copied-device"), copied, "{stats}");
}

#[test]
fn frames_that_downstream_keeps_are_copied_on_the_device() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let client = format!("{} max-leases=2 ! fakesink name=out", source());
    let mut client = channel.play(1, &["report out.sink"], &client);
    client.hold("out.sink", 10);
    for seed in 0..10 {
        channel.publish(Picture::in_cuda(NV12).seed(seed));
    }
    client.until_buffers("out.sink", 10);
    let stats = client.stats("src");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    let copied = if has_no_copy() { 8 } else { 10 };
    assert_eq!(stats.number("copied-device"), copied, "{stats}");
    let digests = client.digests("out.sink").join(",");
    let digests: Vec<String> = digests.split(',').map(str::to_owned).collect();
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), 10);
}

#[test]
fn buffers_outlive_the_element_and_the_producer() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let client = format!("{} ! fakesink name=out", source());
    let mut client = channel.play(1, &["count out.sink"], &client);
    client.hold("out.sink", 3);
    for seed in 0..3 {
        channel.publish(Picture::in_cuda(NV12).seed(seed));
    }
    until("all frames have passed", || {
        client.watched("out.sink").number("count") == 3
    });
    let before = client.held("out.sink");
    client.change_promptly(State::Null);
    channel.producer.kill();
    assert_eq!(client.held("out.sink"), before);
    client.hold("out.sink", 0);
    // A thread gives the frames back.
    let mut control = channel.driver.control(client.pid());
    until("the frames are given back", || {
        let alive = control.alive();
        let kinds = ["handles", "mappings", "events"];
        kinds.iter().all(|kind| alive.number(kind) == 0)
    });
    client.end();
    channel.driver.assert_nothing_left(client.pid(), &OWNED);
}

#[test]
fn a_failed_device_ends_the_stream_with_an_error() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::open();
    channel.announce(NV12);
    let client = format!("{} ! fakesink", source());
    let mut client = channel.play(1, &[], &client);
    channel.publish(Picture::in_cuda(NV12));
    client.until_stats("src", "a frame is received", |stats| {
        stats.number("received") == 1
    });
    channel.driver.control(client.pid()).lose(700);
    // The next frame cannot be used.
    channel.publish(Picture::in_cuda(NV12));
    let text = error(&mut client);
    assert!(text.contains("700"), "{text}");
}

#[test]
fn devices_are_found_by_their_uuid() {
    if !gstreamer_has_cuda() {
        return;
    }
    let mut channel = Channel::with(FakeCuda::new().devices(2), "slots=4 block=20000 device=1");
    channel.announce(NV12);
    let description = format!("{} ! cudadownload ! {}", source(), channel.sink("frames"));
    // The other order of devices: that of the frames is the first.
    let mut client = Pipeline::start_as(&channel.place, &[], &description, |mut command| {
        channel.driver.apply_to_gstreamer(&mut command);
        command.env("CUDA_VISIBLE_DEVICES", "1,0");
        command
    });
    client.order(Order::set("src", "cuda-device-id", 0));
    client.change(State::Playing);
    channel.until_clients(1);
    let picture = Picture::in_cuda(NV12);
    channel.publish(picture.clone());
    until("the frame is written", || {
        fs::metadata(channel.file("frames")).is_ok_and(|file| file.len() > 0)
    });
    client.end();
    assert!(channel.written("frames", NV12) == [picture.pixels()]);
    // Another device than the one that is wanted.
    let mut client = channel.launch(&[], &format!("{} cuda-device-id=0 ! fakesink", source()));
    channel.until_clients(1);
    channel.publish(picture.clone());
    let text = error(&mut client);
    assert!(text.contains("CUDA device 1"), "{text}");
    assert!(text.contains("cuda-device-id is 0"), "{text}");
    client.end();
    // One that the client does not see.
    let description = format!("{} ! fakesink", source());
    let mut client = Pipeline::start_as(&channel.place, &[], &description, |mut command| {
        channel.driver.apply_to_gstreamer(&mut command);
        command.env("CUDA_VISIBLE_DEVICES", "0");
        command
    });
    client.change(State::Playing);
    let text = error(&mut client);
    assert!(text.contains("CUDA_VISIBLE_DEVICES"), "{text}");
}
