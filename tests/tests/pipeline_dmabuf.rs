//! Frames of a camera, in dmabufs that its driver has made, if the machine has vivid, the test
//! camera of the kernel. `make test-dmabuf` has some on any machine.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use xmem_tests::pipeline::{LOSSLESS, Order, Pipeline, State};
use xmem_tests::process::page_faults;
use xmem_tests::{Line, Place, process, until};

/// If a client lags for longer than half of the camera's buffers last, some frames are copied.
const SLOW: &str = "video/x-raw,format=YUY2,width=320,height=180,framerate=10/1";
const FAST: &str = "video/x-raw,format=YUY2,width=320,height=180,framerate=60/1";
/// What the camera draws into the pictures. A camera keeps its settings.
const TIME: &str = "extra-controls=controls,osd_text_mode=0";
const NOTHING: &str = "extra-controls=controls,osd_text_mode=2";
/// The maximum number of buffers that a driver makes.
const MOST: usize = 32;

/// The vivid devices that this process may use, with memory of different kinds.
fn cameras() -> Vec<String> {
    let Ok(devices) = std::fs::read_dir("/sys/class/video4linux") else {
        return Vec::new();
    };
    let is_vivid = |device: &Path| {
        let driver = std::fs::read_link(device.join("device/driver"));
        driver.is_ok_and(|driver| driver.ends_with("vivid"))
    };
    let cameras = devices.flatten().filter(|one| is_vivid(&one.path()));
    let mut cameras: Vec<_> = cameras
        .map(|one| format!("/dev/{}", one.file_name().to_string_lossy()))
        .collect();
    cameras.retain(|camera| File::options().read(true).write(true).open(camera).is_ok());
    cameras.sort();
    cameras
}

/// Whether the camera accepts memory that is not contiguous.
fn takes_any_memory(camera: &str) -> bool {
    let name = camera.replace("/dev", "/sys/class/video4linux") + "/name";
    let name = std::fs::read_to_string(name).expect("a camera has a name");
    // vivid-001-vid-cap
    let number = name
        .split('-')
        .nth(1)
        .and_then(|number| number.parse().ok());
    let allocators = std::fs::read_to_string("/sys/module/vivid/parameters/allocators");
    let allocators = allocators.expect("vivid says how it gets memory");
    let mut allocators = allocators.trim().split(',');
    allocators.nth(number.expect("the name has a number")) == Some("0")
}

/// Runs the test with each camera, one test at a time, because a camera films for one process at a
/// time.
fn with_each_camera(test: impl Fn(&str)) {
    static IN_USE: Mutex<()> = Mutex::new(());
    let _alone = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let cameras = cameras();
    if cameras.is_empty() {
        eprintln!("not tried: there is no vivid camera that this process may use");
    }
    for camera in cameras {
        eprintln!("{camera}");
        test(&camera);
    }
}

/// The source of a pipeline. Each picture differs from the one before, because the time is drawn
/// into it.
fn film(camera: &str, settings: &str, caps: &str) -> String {
    film_with(camera, &format!("{settings} {TIME}"), caps)
}

fn film_with(camera: &str, settings: &str, caps: &str) -> String {
    format!("v4l2src device={camera} {settings} ! capsfilter name=filter caps={caps}")
}

/// Films until the end, for a client that is connected from the start.
fn exchange(source: &str, watch: &str) -> (Pipeline, Pipeline) {
    let place = Place::new();
    let producer = format!("{source} ! xmemsink name=sink channel=cam0 {LOSSLESS}");
    let mut producer = Pipeline::start(&place, &[&format!("{watch} sink.sink")], &producer);
    producer.change(State::Ready);
    let client = "xmemsrc channel=cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &[&format!("{watch} out.sink")], client);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    producer.until_eos();
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
    (producer, client)
}

/// A producer that films until it is stopped, and a client that stays connected.
fn filming(place: &Place, camera: &str) -> (Pipeline, Pipeline) {
    let producer = film(camera, "io-mode=dmabuf", FAST) + " ! xmemsink name=sink channel=cam0";
    let producer = Pipeline::play(place, &[], &producer);
    let viewer = "xmemsrc channel=cam0 on-disconnect=reconnect \
                  connection-timeout=18446744073709551615 ! fakesink name=out";
    let mut viewer = Pipeline::play(place, &["report out.sink"], viewer);
    viewer.until_buffers("out.sink", 1);
    (producer, viewer)
}

/// A client that keeps the last `count` frames, even after the end of its stream.
struct Keeper {
    client: Pipeline,
    frames: String,
}

impl Keeper {
    fn new(place: &Place, count: usize) -> Keeper {
        let leases = count + 1;
        let client = format!(
            "xmemsrc channel=cam0 num-buffers={count} max-leases={leases} ! fakesink name=out"
        );
        let mut client = Pipeline::start(place, &["report out.sink"], &client);
        client.hold("out.sink", count);
        client.change(State::Playing);
        client.until_eos();
        let frames = Keeper::look(&mut client);
        assert_eq!(frames.split(',').count(), count);
        Keeper { client, frames }
    }

    fn look(client: &mut Pipeline) -> String {
        client.held("out.sink")
    }

    /// Checks that its frames have not changed.
    fn check(&mut self) {
        assert_eq!(Keeper::look(&mut self.client), self.frames);
    }
}

/// Waits until a value of the statistics has grown.
fn until_more(producer: &mut Pipeline, figure: &str, more: u64) -> Line {
    let before = producer.stats("sink").number(figure);
    producer.until_stats("sink", &format!("more are {figure}"), |stats| {
        stats.number(figure) >= before + more
    })
}

/// Checks that both continue, and that neither has posted an error or warning.
fn go_on(producer: &mut Pipeline, viewer: &mut Pipeline) {
    until_more(producer, "imported", 30);
    let mark = viewer.mark();
    viewer.until_buffers_since(mark, "out.sink", 30);
    assert_eq!(producer.messages(), [""; 0]);
    assert_eq!(viewer.messages(), [""; 0]);
}

fn assert_all_imported(producer: &mut Pipeline, frames: u64) {
    let stats = producer.stats("sink");
    assert_eq!(stats.number("imported"), frames, "{stats}");
    assert_eq!(stats.number("published"), frames, "{stats}");
    // No memory was made for copies either.
    assert_eq!(stats.number("memory"), 0, "{stats}");
}

fn assert_dma_bufs(client: &Pipeline) {
    for frame in client.buffers("out.sink") {
        assert_eq!(frame.text("allocator"), "GstXmemDmaBufAllocator");
        assert_eq!(frame.text("write-to-memory"), "refused");
    }
}

/// The number of dmabufs of which a process has descriptors.
fn dma_bufs(pid: u32) -> usize {
    let is_dma_buf = |name: &Path| name.to_string_lossy().contains("dmabuf");
    let fds = process::fds(pid);
    fds.iter().filter(|(_, name)| is_dma_buf(name)).count()
}

#[test]
fn frames_of_a_camera_are_imported_without_a_copy() {
    with_each_camera(|camera| {
        let source = film(camera, "io-mode=dmabuf num-buffers=20", SLOW);
        let (mut producer, client) = exchange(&source, "inspect");
        assert_all_imported(&mut producer, 20);
        assert_dma_bufs(&client);
        // The time is drawn into the picture.
        let digests = client.digests("out.sink");
        assert!(digests.windows(2).all(|pair| pair[0] != pair[1]));
    });
}

/// The pictures that a pipeline without xmem shows.
#[test]
fn a_client_sees_what_the_camera_films() {
    with_each_camera(|camera| {
        let film = |mode: &str| {
            let settings = format!("io-mode={mode} num-buffers=10 {NOTHING}");
            film_with(camera, &settings, SLOW)
        };
        let plain = film("mmap") + " ! fakesink name=out";
        let mut plain = Pipeline::play(&Place::new(), &["report out.sink"], &plain);
        plain.until_eos();
        plain.end();
        for (mode, way) in [
            ("auto", "imported"),
            ("dmabuf", "imported"),
            ("mmap", "copied"),
            // Both write directly into the slots of the sink.
            ("userptr", "zero-copy"),
            ("rw", "zero-copy"),
        ] {
            if mode == "userptr" && !takes_any_memory(camera) {
                continue;
            }
            let (mut producer, client) = exchange(&film(mode), "report");
            let stats = producer.stats("sink");
            assert_eq!(stats.number(way), 10, "{mode}: {stats}");
            let (seen, filmed) = (client.digests("out.sink"), plain.digests("out.sink"));
            assert_eq!(seen, filmed, "{mode}");
        }
    });
}

#[test]
fn planes_in_dmabufs_of_their_own_are_copied_once() {
    with_each_camera(|camera| {
        let caps = "video/x-raw,format=NV12,width=320,height=180,framerate=10/1";
        let source = film(camera, "io-mode=dmabuf num-buffers=10", caps);
        let (mut producer, _client) = exchange(&source, "inspect");
        let frames = producer.buffers("sink.sink");
        let way = match frames[0].number("memories") {
            1 => "imported",
            _ => "copied",
        };
        let stats = producer.stats("sink");
        assert_eq!(stats.number(way), 10, "{stats}");
    });
}

#[test]
fn caps_with_drm_formats_cross_with_the_planes() {
    if gst::version() < (1, 26, 0, 0) {
        eprintln!("not tried: v4l2src has no such caps before GStreamer 1.26");
        return;
    }
    with_each_camera(|camera| {
        let caps = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=YUYV,width=320,\
                    height=180,framerate=10/1";
        let source = film(camera, "io-mode=dmabuf num-buffers=10", caps);
        let (mut producer, client) = exchange(&source, "inspect-bytes");
        assert_all_imported(&mut producer, 10);
        assert_dma_bufs(&client);
        let frames = client.buffers("out.sink");
        for (sent, received) in producer.buffers("sink.sink").iter().zip(frames) {
            for key in [
                "video-format",
                "video-size",
                "video-strides",
                "video-offsets",
            ] {
                assert_eq!(received.text(key), sent.text(key));
            }
        }
    });
}

#[test]
fn a_camera_is_seen_through_a_process_in_the_middle() {
    with_each_camera(|camera| {
        let place = Place::new();
        let forever = "connection-timeout=18446744073709551615";
        let last = format!("xmemsrc channel=cam1 {forever} ! fakesink name=out");
        let mut last = Pipeline::play(&place, &["inspect out.sink"], &last);
        let middle = format!(
            "xmemsrc channel=cam0 max-leases=16 {forever} ! identity \
             ! xmemsink name=sink channel=cam1 {LOSSLESS}"
        );
        let mut middle = Pipeline::play(&place, &[], &middle);
        let producer = film(camera, "io-mode=dmabuf num-buffers=20", SLOW);
        let producer = format!("{producer} ! xmemsink name=sink channel=cam0 {LOSSLESS}");
        let mut producer = Pipeline::start(&place, &["report sink.sink"], &producer);
        producer.change(State::Ready);
        producer.until_clients("sink", 1);
        middle.until_clients("sink", 1);
        producer.change(State::Playing);
        for one in [&mut producer, &mut middle, &mut last] {
            one.until_eos();
        }
        assert_eq!(last.digests("out.sink"), producer.digests("sink.sink"));
        assert_dma_bufs(&last);
        assert_all_imported(&mut producer, 20);
        assert_all_imported(&mut middle, 20);
        // A process that only forwards frames does not map them.
        assert!(process::maps(middle.pid(), "dmabuf").is_empty());
    });
}

#[test]
fn each_buffer_of_a_camera_is_mapped_once() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, mut viewer) = filming(&place, camera);
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
        let (first, before) = until_frame(100);
        let (last, after) = until_frame(first + 200);
        let (frames, faults) = (last - first, after - before);
        // This leaves room for the page faults of the orders, and for a buffer that arrives late.
        assert!(
            faults * 2 < frames,
            "{faults} page faults in {frames} frames"
        );
        let maps = process::maps(client.pid(), "dmabuf");
        assert!((1..=MOST).contains(&maps.len()), "{maps:?}");
        assert!(maps.iter().all(|map| map.access == "r--s"), "{maps:?}");
        go_on(&mut producer, &mut viewer);
    });
}

#[test]
fn clients_that_keep_frames_neither_stop_a_camera_nor_see_them_change() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, mut viewer) = filming(&place, camera);
        // As many as the camera has, and more.
        let mut keepers = [1, 4, 40].map(|count| Keeper::new(&place, count));
        let stats = until_more(&mut producer, "published", 100);
        assert_eq!(stats.number("dropped"), 0, "{stats}");
        let mark = viewer.mark();
        viewer.until_buffers_since(mark, "out.sink", 40);
        for keeper in &mut keepers {
            keeper.check();
        }
        for keeper in &mut keepers {
            keeper.client.kill();
        }
        go_on(&mut producer, &mut viewer);
    });
}

#[test]
fn a_camera_stops_and_films_again_while_clients_keep_its_frames() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, mut viewer) = filming(&place, camera);
        let mut keepers = Vec::new();
        for state in [State::Paused, State::Ready, State::Null] {
            keepers.push(Keeper::new(&place, 3));
            producer.change(state);
            producer.change(State::Playing);
            go_on(&mut producer, &mut viewer);
            for keeper in &mut keepers {
                keeper.check();
            }
        }
    });
}

#[test]
fn a_camera_changes_its_format_while_clients_keep_its_frames() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, mut viewer) = filming(&place, camera);
        let mut keepers = Vec::new();
        for (width, height) in [(640, 360), (320, 180), (640, 360)] {
            keepers.push(Keeper::new(&place, 3));
            let mark = viewer.mark();
            let caps = format!("video/x-raw,format=YUY2,width={width},height={height}");
            producer.order(Order::set("filter", "caps", caps));
            viewer.until_since(mark, "frames of the new size arrive", |line| {
                line.word == "buffer" && line.number("size") == width * height * 2
            });
            go_on(&mut producer, &mut viewer);
            for keeper in &mut keepers {
                keeper.check();
            }
        }
    });
}

#[test]
fn what_a_client_keeps_of_a_camera_outlives_its_producer() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, viewer) = filming(&place, camera);
        let mut keepers = [2, 10].map(|count| Keeper::new(&place, count));
        producer.kill();
        drop(viewer);
        let (mut producer, mut viewer) = filming(&place, camera);
        go_on(&mut producer, &mut viewer);
        for keeper in &mut keepers {
            keeper.check();
        }
    });
}

#[test]
fn a_camera_that_restarts_leaves_none_of_its_buffers_behind() {
    with_each_camera(|camera| {
        let place = Place::new();
        let (mut producer, mut viewer) = filming(&place, camera);
        for _ in 0..8 {
            go_on(&mut producer, &mut viewer);
            producer.change(State::Ready);
            producer.change(State::Playing);
        }
        go_on(&mut producer, &mut viewer);
        // The camera's own buffers, and those that are imported.
        until("the producer has released the others", || {
            dma_bufs(producer.pid()) <= 2 * MOST
        });
        until("the client has released the others", || {
            dma_bufs(viewer.pid()) <= MOST
        });
    });
}
