//! A channel is a URI: players and decoders that only accept URIs can play it.

use gst::prelude::*;
use xmem_tests::local::{self, Local};
use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Place, process, until, until_some};

const PICTURES: &str = "videotestsrc is-live=true \
                        ! video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
const SOUND: &str = "audiotestsrc is-live=true ! audio/x-raw,format=S16LE,rate=48000,channels=2";

fn producer(place: &Place, source: &str) -> Local {
    Local::play(&format!("{source} ! {}", local::sink(place, "")))
}

fn uri(place: &Place) -> String {
    format!("xmem://{}", place.socket("cam0").display())
}

/// The next sample of an `appsink`, which may not have started yet.
fn pull(out: &gst::Element) -> gst::Sample {
    until_some("a sample comes", || {
        let second = gst::ClockTime::SECOND.nseconds();
        out.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&second])
    })
}

fn kind(sample: &gst::Sample) -> &str {
    let caps = sample.caps().expect("a sample has caps");
    caps.structure(0).expect("fixed caps").name()
}

#[test]
fn decoders_play_pictures_and_sound_and_coded_streams() {
    let jpeg = format!("{PICTURES} ! jpegenc");
    for (source, expected) in [
        (PICTURES, "video/x-raw"),
        (SOUND, "audio/x-raw"),
        (&jpeg, "video/x-raw"),
    ] {
        let place = Place::new();
        let _producer = producer(&place, source);
        for decoder in ["uridecodebin", "uridecodebin3"] {
            // Its queues need more buffers of sound than it may hold.
            let client = format!(
                "{decoder} uri={} ! appsink name=out sync=false max-buffers=1 drop=true",
                uri(&place)
            );
            let client = Local::play(&client);
            let out = client.element("out");
            for _ in 0..3 {
                assert_eq!(kind(&pull(&out)), expected, "{decoder} of {source}");
            }
        }
    }
}

#[test]
fn players_play_pictures_and_sound() {
    for (source, property, expected) in [
        (PICTURES, "video-sink", "video/x-raw"),
        (SOUND, "audio-sink", "audio/x-raw"),
    ] {
        let place = Place::new();
        let _producer = producer(&place, source);
        for player in ["playbin", "playbin3"] {
            let out = gst::ElementFactory::make("appsink")
                .property("sync", false)
                .property("max-buffers", 1u32)
                .property("drop", true);
            let out = out.build().expect("a sink");
            let player = gst::ElementFactory::make(player)
                .property("uri", uri(&place))
                .property(property, &out)
                .build()
                .expect("a player");
            player.set_state(gst::State::Playing).expect("it plays");
            for _ in 0..3 {
                assert_eq!(kind(&pull(&out)), expected);
            }
            player.set_state(gst::State::Null).expect("it stops");
        }
    }
}

#[test]
fn a_player_that_is_there_first_waits_for_the_producer() {
    let place = Place::new();
    let client = "uridecodebin uri=xmem://cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    process::until_asleep(client.pid(), "source:src");
    let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let _producer = Pipeline::play(&place, &[], &producer);
    client.until_buffers("out.sink", 3);
}

#[test]
fn a_uri_sets_the_channel_and_tells_it() {
    local::init();
    for (uri, property, value) in [
        ("xmem://cam0", "channel", "cam0"),
        ("xmem:///run/x.sock", "socket-path", "/run/x.sock"),
        ("xmem:///run/a%20b.sock", "socket-path", "/run/a b.sock"),
    ] {
        let source = gst::Element::make_from_uri(gst::URIType::Src, uri, None).expect("a source");
        assert_eq!(
            source.factory().expect("the source has a factory").name(),
            "xmemsrc"
        );
        assert_eq!(source.property::<String>(property), value);
        let handler = source.clone().dynamic_cast::<gst::URIHandler>();
        let handler = handler.expect("it takes URIs");
        assert_eq!(handler.uri().as_deref(), Some(uri));
        // Another URI replaces it, in either form.
        handler
            .set_uri("xmem://other")
            .expect("the element is in NULL");
        assert_eq!(source.property::<String>("channel"), "other");
        assert_eq!(source.property::<Option<String>>("socket-path"), None);
    }
}

#[test]
fn an_invalid_uri_is_refused_with_the_valid_forms() {
    local::init();
    for uri in [
        "xmem://",
        "xmem://a/b",
        "xmem://cam0?delivery=latest",
        "xmem:///run/",
    ] {
        let error = gst::Element::make_from_uri(gst::URIType::Src, uri, None);
        let error = error.expect_err(uri).to_string();
        assert!(error.contains("xmem://NAME"), "{uri}: {error}");
    }
}

#[test]
fn a_source_that_has_started_goes_on_with_another_uri() {
    let places = [Place::new(), Place::new()];
    let _producers = [producer(&places[0], PICTURES), producer(&places[1], SOUND)];
    let client = Local::play(&format!(
        "{} ! appsink name=out sync=false",
        local::source(&places[0], "")
    ));
    let out = client.element("out");
    assert_eq!(kind(&pull(&out)), "video/x-raw");
    let handler = client.element("src").dynamic_cast::<gst::URIHandler>();
    let handler = handler.expect("it takes URIs");
    handler.set_uri(&uri(&places[1])).expect("a channel");
    until("the stream of the other channel arrives", || {
        kind(&pull(&out)) == "audio/x-raw"
    });
    assert_eq!(handler.uri().as_deref(), Some(uri(&places[1]).as_str()));
}
