//! A producer that tells a source nonsense: the source ends with an error that says what was wrong.

use xmem_core::Publisher;
use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Line, PATIENCE, Place, pattern, process};

const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";

/// What a source says of a frame of this format, and of these extra bytes.
fn error_of(format: &str, extra: &[u8]) -> Line {
    let place = Place::new();
    let open = Publisher::builder(place.channel("cam0")).open();
    let publisher = open.expect("a channel");
    let mut client = Pipeline::play(&place, &["count out.sink"], CLIENT);
    let come = publisher.wait_for_clients(1, Some(PATIENCE));
    come.expect("the client");
    publisher.set_format(format).expect("room for it");
    let mut frame = publisher.acquire(1000).expect("a slot");
    pattern::fill(&mut frame, 0, 0).expect("a record");
    frame.set_extra(extra).expect("room for it");
    frame.publish().expect("a channel");
    let error = client.until_message("error");
    assert_eq!(error.text("from"), "src", "{error}");
    client.change_promptly("null");
    error
}

#[test]
fn caps_that_are_none_are_an_error() {
    let deep = "video/x-raw, a=(structure)".repeat(1000);
    let long = "video/x-raw, ä".repeat(1 << 20);
    let many = "video/x-raw,format=RGB,width=8,height=8,framerate=1/1;".repeat(100_000);
    let nested = format!("video/x-raw, a={}", "{".repeat(100_000));
    for (format, word) in [
        ("", "caps"),
        ("!", "caps"),
        ("video/x-raw, width=", "caps"),
        ("video/x-raw\0, width=8", "caps"),
        ("video/x-raw, width=[1, 8]", "range"),
        ("video/x-raw, width={1, 8}", "fixed"),
        ("ANY", "fixed"),
        ("EMPTY", "fixed"),
        ("video/x-raw(memory:GLMemory), width=8", "GLMemory"),
        ("video/x-raw, pool=(GstBufferPool)0x1234", "caps"),
        (&*deep, "caps"),
        (&*long, "caps"),
        (&*many, "500000 parts"),
        (&*nested, "brackets"),
    ] {
        let error = error_of(format, &[]);
        assert!(error.text("text").contains(word), "{error}");
        assert!(
            error.to_string().len() < 2000,
            "{} bytes",
            error.to_string().len()
        );
    }
}

#[test]
fn metas_that_are_none_are_an_error() {
    const RGB: &str = "video/x-raw,format=RGB,width=8,height=8,framerate=1/1";
    let meta =
        |kind: u32, len: u32, body: &[u8]| [&kind.to_le_bytes(), &len.to_le_bytes(), body].concat();
    for (extra, what) in [
        (vec![1], "a byte"),
        (meta(1, 4, &[]), "a meta whose body is not there"),
        (
            meta(1, u32::MAX, &[0; 100]),
            "one with more bytes than there are",
        ),
        (meta(1, 100, &[0xff; 100]), "a video meta of other video"),
        (meta(2, 16, &[0xff; 16]), "a crop outside of the picture"),
    ] {
        let error = error_of(RGB, &extra);
        assert!(error.text("text").contains("metas"), "{what}: {error}");
    }
}

/// Long, and many: what it keeps of them is bounded.
#[test]
fn formats_without_end_cost_a_source_little() {
    let place = Place::new();
    let open = Publisher::builder(place.channel("cam0")).open();
    let publisher = open.expect("a channel");
    let mut client = Pipeline::play(&place, &["count out.sink"], CLIENT);
    let come = publisher.wait_for_clients(1, Some(PATIENCE));
    come.expect("the client");
    let mut memory = Vec::new();
    for number in 0..300 {
        // Right ones, of a MiB, and no two alike. New names of types or fields are another matter:
        // GLib keeps each of them for ever.
        let long = "x".repeat(1 << 20);
        let format = format!("application/x-test, number={number}, long={long}");
        publisher.set_format(&format).expect("room for it");
        pattern::publish(&publisher, number, 1000, 0).expect("a frame");
        client.until_stats("src", "it receives", |stats| {
            stats.number("received") > number
        });
        memory.push(process::memory(client.pid()).own);
    }
    assert_eq!(client.messages(), [""; 0]);
    // It may keep texts of 64 MiB for frames to come, and what GStreamer makes of one of them.
    let most = memory.iter().max().expect("many");
    assert!(*most < 200 << 10, "{most} KiB");
}
