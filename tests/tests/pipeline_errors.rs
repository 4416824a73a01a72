//! Errors say what is wrong so that a person can act on it. Also what the elements report about
//! themselves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use xmem_core::{BufferMeta, Publisher};
use xmem_tests::pipeline::{CLIENT, Custom, Order, Pipeline, Push, State, Way};
use xmem_tests::{Line, PATIENCE, Place, process, until};

const PICTURES: &str = "videotestsrc ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1";

/// Starts a pipeline that cannot reach READY, and returns its error.
fn error_of(place: &Place, description: &str) -> Line {
    let mut pipeline = Pipeline::start(place, &[], description);
    let changed = pipeline.order(State::Ready);
    assert_eq!(changed.text("result"), "Failure", "{description}");
    let error = pipeline.until_message("error");
    pipeline.end();
    error
}

#[test]
fn without_a_channel_an_element_says_which_properties_there_are() {
    let place = Place::new();
    for description in ["videotestsrc ! xmemsink", "xmemsrc ! fakesink"] {
        let error = error_of(&place, description);
        error.says("Resource.Settings", &["channel", "socket-path"]);
    }
}

#[test]
fn a_channel_and_a_socket_path_together_are_refused() {
    let place = Place::new();
    for description in [
        "videotestsrc ! xmemsink channel=cam0 socket-path=/tmp/xmem-test.sock",
        "xmemsrc channel=cam0 socket-path=/tmp/xmem-test.sock ! fakesink",
    ] {
        let error = error_of(&place, description);
        error.says("Resource.Settings", &["channel", "socket-path", "not both"]);
    }
}

#[test]
fn a_channel_in_use_names_the_process_that_has_it() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::play(&place, &[], &camera);
    camera.until_stats("sink", "the camera runs", |stats| {
        stats.number("published") > 0
    });
    let error = error_of(&place, "videotestsrc ! xmemsink channel=cam0");
    let pid = format!("pid {}", camera.pid());
    error.says("Resource.Busy", &[&pid, "cam0.sock", "channel"]);
    // The process that was refused has done no harm.
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 3);
}

#[test]
fn an_impossible_socket_path_is_named() {
    let place = Place::new();
    let long = "x".repeat(120);
    for (property, words) in [
        ("socket-path=/nonexistent/cam0.sock", &["/nonexistent"][..]),
        // The path is named as it is, also where it contains the name of a setting of the core.
        (
            "socket-path=/nonexistent/max_slots/cam0.sock",
            &["/nonexistent/max_slots:"],
        ),
        (&format!("socket-path=/tmp/{long}.sock"), &["too long"]),
        ("socket-path=/tmp", &["/tmp"]),
        ("channel=a/b", &["a/b", "slash"]),
        ("channel=.hidden", &[".hidden", "dot"]),
    ] {
        let error = error_of(&place, &format!("videotestsrc ! xmemsink {property}"));
        let kind = error.text("kind").to_owned();
        assert!(kind.starts_with("Resource."), "{error}");
        error.says(&kind, words);
    }
    for property in ["channel=a/b", &format!("socket-path=/tmp/{long}.sock")] {
        let error = error_of(&place, &format!("xmemsrc {property} ! fakesink"));
        error.says("Resource.Settings", &[]);
    }
    // A file that is not a socket is left alone.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "of value").unwrap();
    let description = format!("videotestsrc ! xmemsink socket-path={}", path.display());
    let error = error_of(&place, &description);
    error.says(error.text("kind"), &["notes.txt"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "of value");
}

#[test]
fn a_runtime_directory_that_others_can_write_is_refused() {
    let place = Place::new();
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let error = error_of(&place, "videotestsrc ! xmemsink channel=cam0");
    let path = place.path().display().to_string();
    error.says("Resource.Settings", &[&path, "chmod 700"]);
}

#[test]
fn a_client_without_a_producer_says_how_long_it_waited() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 connection-timeout=50000000 ! fakesink";
    let mut client = Pipeline::play(&place, &[], client);
    let error = client.until_message("error");
    error.says(
        "Resource.NotFound",
        &["cam0.sock", "50ms", "connection-timeout"],
    );
}

#[test]
fn one_client_too_many_gets_an_error_with_the_maximum() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0 max-clients=2");
    let mut camera = Pipeline::play(&place, &[], &camera);
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
            client.until_buffers("out.sink", 1);
            client
        })
        .collect();
    let client = "xmemsrc name=src channel=cam0 connection-timeout=50000000 ! fakesink";
    let mut refused = Pipeline::play(&place, &[], client);
    let error = refused.until_message("error");
    error.says("Resource.Busy", &["2 clients", "max-clients"]);
    assert_eq!(camera.stats("sink").number("clients"), 2);
    // There is a free place when a client has left.
    drop(clients);
    camera.until_stats("sink", "a place is free", |stats| {
        stats.number("clients") == 0
    });
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 3);
}

#[test]
fn a_client_that_does_not_fit_into_max_buffers_gets_an_error() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0 max-buffers=5");
    let mut camera = Pipeline::play(&place, &[], &camera);
    camera.until_stats("sink", "the camera runs", |stats| {
        stats.number("published") > 3
    });
    let client = |leases: u32| {
        format!(
            "xmemsrc name=src channel=cam0 max-leases={leases} connection-timeout=50000000 \
             ! fakesink name=out enable-last-sample=false"
        )
    };
    let mut refused = Pipeline::play(&place, &[], &client(8));
    let error = refused.until_message("error");
    // 8 frames, and one for copies.
    error.says("Resource.Busy", &["9 leases", "max-buffers", "max-leases"]);
    // A client that needs fewer is accepted.
    let mut taken = Pipeline::play(&place, &["report out.sink"], &client(1));
    taken.until_buffers("out.sink", 10);
    let stats = camera.stats("sink");
    assert!(stats.number("slots") <= 5, "{stats}");
}

#[test]
fn memory_of_a_device_is_refused_with_advice() {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.change(State::Playing);
    producer.order(
        Push::of("video/x-raw(memory:GLMemory),format=RGBA,width=64,height=48,framerate=30/1")
            .size(12288),
    );
    let error = producer.until("the sink says why", |line| {
        line.word == "message"
            && line.text("type") == "error"
            && line.text("text").contains("memory:GLMemory")
    });
    error.says("Core.Negotiation", &["gldownload"]);
    assert_eq!(error.text("from"), "sink");
}

#[test]
fn caps_that_clients_could_not_read_are_refused_by_the_sink() {
    let place = Place::new();
    let deep = format!("{}1{}", "<".repeat(20), ">".repeat(20));
    let producer = format!(
        "{PICTURES} ! capssetter caps=\"video/x-raw,note={deep}\" ! \
         xmemsink name=sink channel=cam0 sync=false"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    let error = producer.until_message("error");
    error.says("Core.Negotiation", &["clients", "field note"]);
    producer.end();
}

#[test]
fn a_sink_reports_its_clients() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::play(&place, &[], &camera);
    let mut first = Pipeline::play(&place, &["report out.sink"], CLIENT);
    first.until_buffers("out.sink", 1);
    let mut second = Pipeline::play(&place, &["report out.sink"], CLIENT);
    second.until_buffers("out.sink", 1);
    camera.until_clients("sink", 2);
    let clients = camera.order(Order::Get {
        of: "sink".into(),
        property: "num-clients".into(),
    });
    assert_eq!(clients.text("text"), "2");
    first.kill();
    let mark = camera.mark();
    camera.until_clients_since(mark, "sink", 1);
    second.end();
    camera.until_clients("sink", 0);
    let mut signals = Vec::new();
    camera.until("four signals", |line| {
        if line.word == "signal" {
            signals.push((line.text("name").to_owned(), line.number("client")));
        }
        signals.len() == 4
    });
    let expected = [
        ("client-connected", 1),
        ("client-connected", 2),
        ("client-disconnected", 1),
        ("client-disconnected", 2),
    ];
    let expected = expected.map(|(name, client)| (name.to_owned(), client));
    assert_eq!(signals, expected);
}

#[test]
fn a_client_that_was_there_first_is_counted() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::start(&place, &[], &camera);
    for _ in 0..50 {
        // A new client each time. The same client would wait before it reconnects to a producer
        // that sent no frame.
        let client = "xmemsrc name=src channel=cam0 connection-timeout=18446744073709551615 \
                      ! fakesink name=out";
        let client = Pipeline::play(&place, &[], client);
        process::until_asleep(client.pid(), "src:src");
        let mark = camera.mark();
        camera.change(State::Ready);
        camera.until_clients_since(mark, "sink", 1);
        camera.change(State::Null);
    }
}

#[test]
fn the_figures_of_a_sink_name_its_clients() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::play(&place, &[], &camera);
    let client = "xmemsrc name=eye channel=cam0 max-leases=3 delivery=latest ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 10);
    let stats = camera.stats("sink");
    for field in ["published", "zero-copy", "slots", "slot-size", "memory"] {
        assert!(stats.number(field) > 0, "{field} in {stats}");
    }
    for field in ["copied", "copied-bytes", "dropped"] {
        assert_eq!(stats.number(field), 0, "{field} in {stats}");
    }
    assert!(stats.number("memory") >= stats.number("slots") * 64 * 48 * 3);
    // The statistics of every sink are included.
    assert!(stats.get("rendered").is_some(), "{stats}");
    assert_eq!(stats.number("clients"), 1);
    assert_eq!(stats.number("client-0-pid"), u64::from(client.pid()));
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(stats.number("client-0-uid"), u64::from(uid));
    assert_eq!(stats.text("client-0-name"), "eye");
    assert_eq!(stats.text("client-0-delivery"), "latest");
    // 3 frames, and one for copies.
    assert_eq!(stats.number("client-0-leases"), 4);
    assert!(stats.number("client-0-held") <= 4, "{stats}");
    assert!(stats.number("client-0-lag") < 60, "{stats}");
    assert!(stats.get("client-0-missed").is_some(), "{stats}");
    let stats = client.stats("eye");
    assert!(stats.number("received") >= 10, "{stats}");
    assert_eq!(stats.number("connections"), 1, "{stats}");
    assert_eq!(stats.number("starved"), 0, "{stats}");
    assert!(stats.get("missed").is_some(), "{stats}");
    let connected = stats.text("connected").to_lowercase();
    assert_eq!(connected, "true", "{stats}");
}

#[test]
fn a_source_whose_frames_are_all_held_says_so_once() {
    let place = Place::new();
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let _camera = Pipeline::play(&place, &[], &camera);
    let client = "xmemsrc name=src channel=cam0 max-leases=2 on-starved=wait ! fakesink name=out \
                  enable-last-sample=false";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 5);
    // As an application does that keeps frames.
    client.hold("out.sink", 2);
    let warning = client.until_message("warning");
    warning.says("Resource.Busy", &["max-leases", "on-starved=copy"]);
    let stats = client.stats("src");
    assert!(stats.number("starved") > 0, "{stats}");
    for _ in 0..3 {
        client.hold("out.sink", 0);
        let mark = client.mark();
        client.until_buffers_since(mark, "out.sink", 10);
        let starved = client.stats("src").number("starved");
        client.hold("out.sink", 2);
        client.until_stats("src", "all leases are in use again", |stats| {
            stats.number("starved") > starved
        });
    }
    assert_eq!(client.messages().len(), 1, "{:?}", client.messages());
}

#[test]
fn a_client_that_blocks_for_too_long_is_named_in_a_warning() {
    let place = Place::new();
    let camera = format!(
        "{PICTURES} ! xmemsink name=sink channel=cam0 sync=false overflow=block \
         block-timeout=50000000"
    );
    let mut camera = Pipeline::play(&place, &[], &camera);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 5);
    client.stop();
    let warning = camera.until_message("warning");
    let words = [
        "Client 1",
        "nor released a frame",
        "to receive",
        "block-timeout",
    ];
    warning.says("Resource.Busy", &words);
    // The producer does not wait for the client until it has caught up.
    let published = camera.stats("sink").number("published");
    let stats = camera.until_stats("sink", "the camera continues", |stats| {
        stats.number("published") > published + 1000
    });
    assert_eq!(stats.text("client-0-lagging").to_lowercase(), "true");
    client.resume();
    camera.until_stats("sink", "the client has caught up", |stats| {
        stats.text("client-0-lagging").to_lowercase() == "false"
    });
}

#[test]
fn the_socket_has_the_permissions_of_the_property() {
    let place = Place::new();
    for (perms, mode) in [("", 0o600), ("perms=432", 0o660)] {
        let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0 {perms}");
        let mut camera = Pipeline::start(&place, &[], &camera);
        camera.change(State::Ready);
        let found = std::fs::metadata(place.socket("cam0")).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode);
        camera.end();
        until("the socket is gone", || place.files().is_empty());
    }
}

#[test]
fn too_few_slots_for_any_client_are_refused_at_the_start() {
    let place = Place::new();
    for slots in [1, 2] {
        let producer = format!("{PICTURES} ! xmemsink channel=cam0 max-buffers={slots}");
        let error = error_of(&place, &producer);
        error.says("Resource.Settings", &["max-buffers", "3"]);
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_waited_for() {
    let place = Place::new();
    std::fs::write(place.socket("cam0"), "").expect("a file");
    let mut client = Pipeline::play(&place, &[], CLIENT);
    let error = client.until_message("error");
    error.says("Resource.Settings", &["cam0.sock", "not a socket"]);
}

#[test]
fn settings_read_when_the_channel_opens_keep_their_values() {
    let place = Place::new();
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut producer = Pipeline::start(&place, &[], &producer);
    producer.change(State::Ready);
    producer.order(Order::set("sink", "channel", "cam1"));
    producer.change(State::Playing);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    assert_eq!(place.files(), ["cam0.sock"]);
}

#[test]
fn a_client_that_reconnects_waits_for_room() {
    let place = Place::new();
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0 max-clients=1");
    let mut producer = Pipeline::play(&place, &[], &producer);
    let mut first = Pipeline::play(&place, &["report out.sink"], CLIENT);
    first.until_buffers("out.sink", 1);
    let second = "xmemsrc name=src channel=cam0 on-disconnect=reconnect ! fakesink name=out";
    let mut second = Pipeline::play(&place, &["report out.sink"], second);
    process::until_asleep(second.pid(), "src:src");
    first.end();
    second.until_buffers("out.sink", 1);
    assert_eq!(producer.stats("sink").number("clients"), 1);
}

/// A recorder that waits without a timeout says why it records nothing.
#[test]
fn a_client_that_waits_for_a_place_without_a_timeout_says_why() {
    let place = Place::new();
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0 max-clients=1");
    let _producer = Pipeline::play(&place, &[], &producer);
    let mut first = Pipeline::play(&place, &["report out.sink"], CLIENT);
    first.until_buffers("out.sink", 1);
    let second = "xmemsrc name=src channel=cam0 connection-timeout=18446744073709551615 \
                  ! fakesink name=out";
    let mut second = Pipeline::play(&place, &["report out.sink"], second);
    let warning = second.until_message("warning");
    warning.says("Resource.Busy", &["max-clients", "connection-timeout"]);
    first.end();
    second.until_buffers("out.sink", 1);
}

#[test]
fn an_event_that_is_too_long_is_a_warning_and_the_stream_goes_on() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &[], producer);
    producer.until_clients("sink", 1);
    producer.push(1);
    client.until_buffers("out.sink", 1);
    let long = Custom::new(Way::Downstream, 0).padding(17_000_000);
    producer.order(Order::send("src", long));
    producer.push(1);
    let warning = producer.until_message("warning");
    warning.says(
        "Resource.Write",
        &["Cannot send an event", "17000", "at most 16777216"],
    );
    client.until_buffers("out.sink", 2);
}

/// Its frames would be read with the caps of the producer before it.
#[test]
fn a_producer_without_caps_after_one_with_caps_is_an_error() {
    let place = Place::new();
    let client = "xmemsrc channel=cam0 on-disconnect=reconnect ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    for caps in ["application/x-test", "application/x-other", ""] {
        let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
        if !caps.is_empty() {
            publisher.set_format(xmem_tests::format(caps)).unwrap();
        }
        publisher.wait_for_clients(1, Some(PATIENCE)).unwrap();
        let mark = client.mark();
        let mut frame = publisher.acquire(100).unwrap();
        *frame.meta_mut() = BufferMeta::bytes(100);
        frame.publish().unwrap();
        if !caps.is_empty() {
            client.until_buffers_since(mark, "out.sink", 1);
            continue;
        }
        let error = client.until_message("error");
        error.says("Resource.Read", &["without caps"]);
    }
    assert_eq!(client.buffers("out.sink").len(), 2);
}
