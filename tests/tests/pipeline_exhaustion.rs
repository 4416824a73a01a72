//! The elements run out of descriptors, memory, or space for the socket. The bus gets a message
//! that says what is missing and what helps, the other pipelines continue, and once there is enough
//! again everything works.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Resource;
use xmem_core::{Publisher, Subscriber};
use xmem_tests::control_group::Group;
use xmem_tests::limits::{leave_addresses, leave_descriptors, lower};
use xmem_tests::pipeline::{CLIENT, Order, PICTURES, Pipeline, Push, State};
use xmem_tests::{Line, PATIENCE, Place, pattern, process};

/// More descriptors than any element needs at once.
const MANY: usize = 40;
/// Pictures of 2.8 MB, more than `LITTLE`.
const LARGE: &str = "videotestsrc name=v ! video/x-raw,format=RGB,width=1280,height=720";
/// A file size limit in bytes: enough for small pictures and for the files of GStreamer.
const LITTLE: u64 = 2_500_000;

fn says(message: &Line, kind: &str, words: &[&str]) {
    message.says(kind, words);
    // The debug information contains the error as it was.
    assert!(message.text("debug").contains("xmem"), "{message}");
}

/// Whether a line is an error that says what is wrong. The base classes add further errors, which
/// do not.
fn is_reason(line: &Line) -> bool {
    line.word == "message"
        && line.text("type") == "error"
        && line.text("kind").starts_with("Resource.")
}

/// Waits for the first such error after a mark.
fn error_since(pipeline: &mut Pipeline, mark: usize) -> Line {
    pipeline.until_since(mark, "an error is posted", is_reason)
}

#[test]
fn a_sink_opens_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::start(&place, &[], &camera);
    let before = process::fd_count(camera.pid());
    let mut opened = None;
    for room in 0..MANY {
        let limit = leave_descriptors(camera.pid(), room);
        let mark = camera.mark();
        let changed = camera.order(State::Ready);
        drop(limit);
        if changed.text("result") != "Failure" {
            opened = Some(room);
            break;
        }
        let error = error_since(&mut camera, mark);
        assert_eq!(error.text("from"), "sink", "{error}");
        let words = ["too many open files", "RLIMIT_NOFILE", "ulimit -n"];
        says(&error, "Resource.NoSpaceLeft", &words);
        camera.order(State::Null);
        process::until_fd_count(camera.pid(), before);
        assert_eq!(place.files(), [""; 0]);
    }
    assert!(opened.is_some_and(|room| room >= 3), "{opened:?}");
    camera.change(State::Playing);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 3);
}

#[test]
fn a_source_plays_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::play(&place, &[], &camera);
    let mut other = Pipeline::play(&place, &["report out.sink"], CLIENT);
    other.until_buffers("out.sink", 1);
    let mut client = Pipeline::start(&place, &["report out.sink"], CLIENT);
    client.change(State::Playing);
    client.until_buffers("out.sink", 3);
    client.change(State::Null);
    let mut refused = 0;
    for room in 0..MANY {
        // What GStreamer itself needs was created before. The source connects in PLAYING.
        client.change(State::Paused);
        let before = process::fd_count(client.pid());
        let limit = leave_descriptors(client.pid(), room);
        let mark = client.mark();
        client.order(State::Playing);
        let said = client.until_since(mark, "an error or a buffer", |line| {
            line.word == "buffer" || is_reason(line)
        });
        drop(limit);
        if said.word == "buffer" {
            break;
        }
        assert_eq!(said.text("from"), "src", "{said}");
        let words = ["too many open files", "RLIMIT_NOFILE", "ulimit -n"];
        says(&said, "Resource.NoSpaceLeft", &words);
        process::until_fd_count(client.pid(), before);
        client.change(State::Null);
        refused += 1;
    }
    assert!(refused >= 3, "{refused} refusals");
    camera.until_stats("sink", "the failed connection is gone", |stats| {
        stats.number("clients") == 2
    });
    let mark = other.mark();
    other.until_buffers_since(mark, "out.sink", 3);
    assert_eq!(other.stats("src").number("missed"), 0);
    assert_eq!(other.messages(), [""; 0]);
}

#[test]
fn a_source_gets_the_error_of_a_producer_without_descriptors_or_waits() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::play(&place, &[], &camera);
    let mut other = Pipeline::play(&place, &["report out.sink"], CLIENT);
    other.until_buffers("out.sink", 1);
    process::until_asleep(camera.pid(), "xmem-control");
    let limit = leave_descriptors(camera.pid(), 0);
    let refused = CLIENT.replace("channel", "on-disconnect=error channel");
    let mut refused = Pipeline::play(&place, &[], &refused);
    let error = refused.until_message("error");
    let words = ["producer", "RLIMIT_NOFILE", "ulimit -n"];
    says(&error, "Resource.Busy", &words);
    let patient = "xmemsrc name=src channel=cam0 ! fakesink name=out";
    let mut patient = Pipeline::play(&place, &["report out.sink"], patient);
    process::until_asleep(patient.pid(), "src:src");
    let mark = other.mark();
    other.until_buffers_since(mark, "out.sink", 10);
    assert_eq!(other.stats("src").number("missed"), 0);
    drop(limit);
    patient.until_buffers("out.sink", 1);
    assert_eq!(patient.messages(), [""; 0]);
    assert_eq!(camera.stats("sink").number("clients"), 2);
}

#[test]
fn a_source_without_descriptors_for_new_memory_fails_or_reconnects() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::start(&place, &[], producer);
    producer.change(State::Playing);
    producer.push(1);
    let client = |on_disconnect: &str| {
        let client = format!(
            "xmemsrc name=src channel=cam0 on-disconnect={on_disconnect} ! fakesink name=out"
        );
        let mut client = Pipeline::play(&place, &["report out.sink"], &client);
        client.until_buffers("out.sink", 1);
        client
    };
    let (mut plain, mut patient, mut other) =
        (client("error"), client("reconnect"), client("error"));
    let limits = [&plain, &patient].map(|client| leave_descriptors(client.pid(), 0));
    let push = Push::bytes(100_000);
    producer.push(&push);
    let error = plain.until_message("error");
    let words = ["descriptor", "RLIMIT_NOFILE", "ulimit -n"];
    says(&error, "Resource.NoSpaceLeft", &words);
    other.until_buffers("out.sink", 2);
    drop(limits);
    patient.until_buffers("out.sink", 2);
    producer.push(&push);
    for client in [&mut patient, &mut other] {
        client.until_buffers("out.sink", 3);
        assert_eq!(client.messages(), [""; 0]);
    }
}

#[test]
fn a_source_that_never_has_room_for_its_frames_gives_up_in_the_end() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::start(&place, &[], producer);
    producer.change(State::Playing);
    producer.push(1);
    let client = "xmemsrc name=src channel=cam0 on-disconnect=reconnect max-leases=1 \
                  connection-timeout=2000000000 ! fakesink name=out enable-last-sample=false";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 1);
    // Enough to connect and for GStreamer, but not for the frames.
    let limit = leave_addresses(client.pid(), 40 << 20);
    producer.push(Push::bytes(30_000_000));
    let error = client.until_message("error");
    let words = ["mapping", "not enough memory", "RLIMIT_AS"];
    says(&error, "Resource.NoSpaceLeft", &words);
    // It has not tried as many times as it could.
    let connections = client.stats("src").number("connections");
    assert!(connections <= 25, "{connections}");
    drop(limit);
    client.change(State::Null);
    client.change(State::Playing);
    client.until_buffers("out.sink", 2);
}

#[test]
fn pictures_for_which_there_is_no_memory_end_with_the_reason() {
    // Directly into slots, and copied into slots: a tee removes the pool.
    for way in ["", "! tee"] {
        let place = Place::new();
        let producer = format!("{LARGE} {way} ! xmemsink name=sink channel=cam0");
        let mut producer = Pipeline::start(&place, &[], &producer);
        let limit = lower(producer.pid(), Resource::Fsize, LITTLE);
        producer.order(State::Playing);
        // The first error says why. Errors that other elements post because of it come later.
        let error = producer.until_message("error");
        assert_eq!(error.text("from"), "sink", "{error}");
        let words = ["slots of 2764800 bytes", "RLIMIT_FSIZE", "ulimit -f"];
        says(&error, "Resource.NoSpaceLeft", &words);
        drop(limit);
        producer.change(State::Null);
        producer.change(State::Playing);
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        client.until_buffers("out.sink", 2);
    }
}

#[test]
fn a_frame_for_which_there_is_no_memory_is_dropped_with_a_warning() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::start(&place, &[], producer);
    producer.change(State::Playing);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    producer.until_clients("sink", 1);
    producer.push(1);
    let limit = lower(producer.pid(), Resource::Fsize, LITTLE);
    let large = Push::bytes(3_000_000);
    for _ in 0..2 {
        producer.push(&large);
        producer.push(1);
    }
    let warning = producer.until_message("warning");
    let words = ["Dropped a frame", "RLIMIT_FSIZE", "ulimit -f"];
    says(&warning, "Resource.NoSpaceLeft", &words);
    client.until_buffers("out.sink", 3);
    producer.until_stats("sink", "both were counted", |stats| {
        stats.number("dropped") == 2
    });
    drop(limit);
    producer.push(&large);
    client.until_buffers("out.sink", 4);
    let sizes: Vec<_> = client
        .buffers("out.sink")
        .iter()
        .map(|line| line.number("size"))
        .collect();
    assert_eq!(sizes, [100, 100, 100, 3_000_000]);
    assert_eq!(client.stats("src").number("missed"), 0);
    // The warning is posted once.
    assert_eq!(producer.messages().len(), 1, "{:?}", producer.messages());
}

#[test]
fn metas_and_caps_without_memory_for_them_cause_warnings() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::start(&place, &[], producer);
    producer.change(State::Playing);
    producer.push(1);
    let limit = leave_descriptors(producer.pid(), 0);
    // Too long for a message.
    let text = "x".repeat(40_000);
    producer.order(Push::of(format!("application/x-test,text={text}")).size(100));
    let error = producer.until_message("error");
    assert_eq!(error.text("from"), "sink", "{error}");
    says(
        &error,
        "Resource.NoSpaceLeft",
        &["RLIMIT_NOFILE", "ulimit -n"],
    );
    drop(limit);
}

#[test]
fn a_sink_without_a_place_for_its_socket_names_it() {
    let start = |place: &Place, mount: &str| {
        let script = format!("{mount}; exec \"$@\"");
        let possible = Command::new("unshare").args(["--mount", "true"]).status();
        if !possible.is_ok_and(|status| status.success()) {
            eprintln!("not tried: mount namespaces are not available");
            return None;
        }
        let sink = "videotestsrc ! xmemsink name=sink channel=cam0";
        Some(Pipeline::start_as(place, &[], sink, |command| {
            let mut outer = Command::new("unshare");
            outer.args(["--mount", "sh", "-ec", &script, "sh"]);
            outer.arg(command.get_program()).args(command.get_args());
            outer.envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            outer
        }))
    };
    for (options, kind, word) in [
        ("nr_inodes=1", "Resource.NoSpaceLeft", "inode"),
        ("nr_inodes=2", "Resource.NoSpaceLeft", "inode"),
        ("ro", "Resource.Settings", "Read-only"),
    ] {
        let place = Place::new();
        let mount = format!("mount -t tmpfs -o mode=700,{options} none $XMEM_RUNTIME_DIR");
        let Some(mut producer) = start(&place, &mount) else {
            return;
        };
        let changed = producer.order(State::Ready);
        assert_eq!(changed.text("result"), "Failure");
        let error = producer.until_message("error");
        let path = place.socket("cam0").display().to_string();
        let words = [&path, word, "XMEM_RUNTIME_DIR", "socket-path"];
        says(&error, kind, &words);
        producer.end();
    }
}

#[test]
fn metas_that_a_source_has_no_memory_to_copy_are_an_error() {
    let Some(group) = Group::new(100 << 20) else {
        return;
    };
    let place = Place::new();
    let open = Publisher::builder(place.channel("cam0")).open();
    let publisher = open.expect("a channel");
    let mut client = Pipeline::play(&place, &[], CLIENT);
    let come = publisher.wait_for_clients(1, Some(PATIENCE));
    come.expect("the client");
    group.take(client.pid());
    pattern::publish(&publisher, 0, 1000, 60_000_000).expect("this process has enough memory");
    let error = client.until_message("error");
    for word in ["metas", "control group"] {
        assert!(error.text("text").contains(word), "{error}");
    }
}

/// Compressed frames differ in size.
#[test]
fn frames_of_other_sizes_that_downstream_holds_take_no_descriptors() {
    let place = Place::new();
    let producer = "videotestsrc is-live=true pattern=ball \
                    ! video/x-raw,width=64,height=48,framerate=240/1 ! x264enc tune=zerolatency \
                    ! h264parse ! xmemsink name=sink channel=cam0";
    let _producer = Pipeline::play(&place, &[], producer);
    let client = "xmemsrc name=src channel=cam0 ! queue name=q max-size-buffers=0 \
                  max-size-bytes=0 max-size-time=0 min-threshold-buffers=100000 ! fakesink";
    let mut client = Pipeline::play(&place, &[], client);
    let received = |client: &mut Pipeline, count: u64| {
        client.until_stats("src", "frames are held", |stats| {
            stats.number("received") >= count
        });
        process::fd_count(client.pid())
    };
    let before = received(&mut client, 50);
    let after = received(&mut client, 350);
    // New memory comes with descriptors, which many frames share.
    assert!(after < before + 40, "{after} descriptors, {before} before");
}

/// A client may hold as many frames as it has leases. There were slots for them while they were
/// small.
#[test]
fn a_client_that_holds_all_slots_there_is_memory_for_does_not_end_the_stream() {
    let Some(group) = Group::new(200 << 20) else {
        return;
    };
    let place = Place::new();
    let caps =
        |width: u32| format!("video/x-raw,format=GRAY8,width={width},height=2000,framerate=100/1");
    let camera = format!(
        "videotestsrc is-live=true ! capsfilter name=caps caps={} ! xmemsink name=sink channel=cam0",
        caps(16)
    );
    let mut camera = Pipeline::play(&place, &[], &camera);
    let connect = |leases| {
        let client = Subscriber::builder(place.channel("cam0")).leases(leases);
        client
            .connect_timeout(Some(PATIENCE))
            .connect()
            .expect("a channel")
    };
    let (mut greedy, mut other) = (connect(64), connect(4));
    group.take(camera.pid());
    camera.order(Order::set("caps", "caps", caps(2000)));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut held = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                held.extend(greedy.receive(Some(Duration::from_millis(10))).ok());
            }
        });
        let warning = camera.until_message("warning");
        is_over.store(true, Ordering::Relaxed);
        says(&warning, "Resource.NoSpaceLeft", &["Dropped a frame"]);
    });
    drop(greedy);
    let published = camera.stats("sink").number("published");
    camera.until_stats("sink", "the camera continues", |stats| {
        stats.number("published") > published + 20
    });
    let frame = other.receive(Some(PATIENCE)).expect("a frame");
    assert_eq!(frame.meta().size(), 4_000_000);
    let messages = camera.messages();
    assert!(
        messages
            .iter()
            .all(|message| !message.contains("type=error")),
        "{messages:?}"
    );
}
