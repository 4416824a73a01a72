//! Channels are devices: applications in which a user chooses a camera list the channels that have
//! a producer.

use std::process::{Command, Output};

use xmem_tests::devices::{Devices, DevicesOrder};
use xmem_tests::pipeline::{self, Pipeline, Push};
use xmem_tests::{Line, Place};

const PICTURES: &str =
    "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
const SOUND: &str = "audiotestsrc is-live=true ! audio/x-raw,format=S16LE,rate=48000,channels=2";

/// An application that lists devices of these classes.
fn application(place: &Place, classes: &str) -> Devices {
    let mut command = Devices::command(classes);
    pipeline::set_environment(&mut command);
    Devices::spawn(command, place)
}

fn produce(place: &Place, source: &str, channel: &str) -> Pipeline {
    let description = format!("{source} ! xmemsink name=sink channel={channel}");
    let mut producer = Pipeline::play(place, &[], &description);
    producer.until_stats("sink", "it runs", |stats| stats.number("published") > 0);
    producer
}

/// Waits until a device has caps of this kind, because its producer may have none at first.
fn until_told(application: &mut Devices, channel: &str, kind: &str) -> Line {
    loop {
        let line = application.next_line();
        let is_told = ["added", "changed"].contains(&line.word.as_str());
        if is_told && line.text("channel") == channel && line.text("text").starts_with(kind) {
            return line;
        }
    }
}

#[test]
fn an_application_is_notified_of_added_and_removed_channels() {
    let place = Place::new();
    let mut camera = produce(&place, PICTURES, "cam0");
    let mut application = application(&place, "");
    let device = until_told(&mut application, "cam0", "video/x-raw");
    assert_eq!(device.word, "added");
    assert_eq!(device.number("pid"), u64::from(camera.pid()));
    assert_eq!(device.text("path"), place.socket("cam0").to_string_lossy());
    assert_eq!(device.text("class"), "Source/Video");
    assert_eq!(device.text("name"), "cam0_(xmem)");
    for part in [
        "format=(string)RGB",
        "width=(int)64",
        "framerate=(fraction)30/1",
    ] {
        assert!(device.text("text").contains(part), "{device}");
    }
    let mut microphone = produce(&place, SOUND, "mic0");
    let device = until_told(&mut application, "mic0", "audio/x-raw");
    assert_eq!(device.text("class"), "Source/Audio");
    // One producer is killed, and one stops.
    camera.kill();
    assert_eq!(application.wait_for("removed").text("channel"), "cam0");
    microphone.end();
    assert_eq!(application.wait_for("removed").text("channel"), "mic0");
    application.order(DevicesOrder::List);
    assert_eq!(application.next_line().word, "listed");
    assert_eq!(application.ask(DevicesOrder::Stop).number("threads"), 0);
}

#[test]
fn an_application_that_wants_sound_is_not_notified_of_pictures() {
    let place = Place::new();
    let _camera = produce(&place, PICTURES, "cam0");
    let _microphone = produce(&place, SOUND, "mic0");
    let mut application = application(&place, "Audio/Source");
    until_told(&mut application, "mic0", "audio/x-raw");
    application.order(DevicesOrder::List);
    assert_eq!(application.wait_for("device").text("channel"), "mic0");
    assert_eq!(application.next_line().word, "listed");
}

/// A camera that has not started because it has no signal.
#[test]
fn a_device_has_caps_as_soon_as_its_producer_has() {
    let place = Place::new();
    let description = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &[], description);
    let mut all = application(&place, "");
    let mut pictures = application(&place, "Video/Source");
    let device = all.wait_for("added");
    assert_eq!(
        (device.text("text"), device.text("class")),
        ("ANY", "Source")
    );
    producer.order(Push::of("video/x-test").size(100).count(1));
    assert_eq!(all.wait_for("removed").text("text"), "ANY");
    until_told(&mut all, "cam0", "video/x-test");
    until_told(&mut pictures, "cam0", "video/x-test");
    // Other caps of the same kind are a change.
    producer.order(Push::of("video/x-other").size(100).count(1));
    assert_eq!(
        until_told(&mut all, "cam0", "video/x-other").word,
        "changed"
    );
}

#[test]
fn a_device_makes_an_element_that_receives_its_channel() {
    let place = Place::new();
    let _cameras = ["cam0", "cam1"].map(|name| produce(&place, PICTURES, name));
    let mut application = application(&place, "");
    for channel in ["cam0", "cam1"] {
        until_told(&mut application, channel, "video/x-raw");
    }
    for channel in ["cam0", "cam1"] {
        let (channel, count) = (channel.into(), 5);
        let played = application.ask(DevicesOrder::Play { channel, count });
        assert_eq!(played.text("element"), "src");
    }
    let moved = application.ask(DevicesOrder::Move {
        from: "cam0".into(),
        to: "cam1".into(),
    });
    assert_eq!(moved.text("to"), "cam1");
    assert_eq!(moved.text("others-are-refused"), "true");
}

/// An application that lists cameras is not a client of them.
#[test]
fn listing_channels_takes_no_place_of_a_client() {
    let place = Place::new();
    let description = format!(
        "{PICTURES} ! xmemsink name=sink channel=cam0 wait-for-connection=true max-clients=1 async=false"
    );
    let mut camera = Pipeline::play(&place, &[], &description);
    let mut application = application(&place, "");
    until_told(&mut application, "cam0", "video/x-raw");
    let stats = camera.stats("sink");
    assert_eq!(stats.number("clients"), 0);
    assert_eq!(
        stats.number("published"),
        0,
        "the producer still waits for a client"
    );
    let signals = camera.log().iter().filter(|line| line.word == "signal");
    assert_eq!(signals.count(), 0);
}

fn monitor(place: &Place, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("gst-device-monitor-1.0");
    pipeline::set_environment(&mut command);
    command
        .env("XMEM_RUNTIME_DIR", place.path())
        .args(arguments);
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("not tried, gst-device-monitor-1.0: {error}");
            None
        }
    }
}

#[test]
fn the_device_monitor_lists_channels_with_a_line_to_start() {
    let place = Place::new();
    let camera = produce(&place, PICTURES, "cam0");
    let Some(output) = monitor(&place, &["Video/Source"]) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "cam0 (xmem)",
        "video/x-raw, format=RGB, width=64",
        &format!("producer-pid = {} ", camera.pid()),
        "gst-launch-1.0 xmemsrc channel=cam0 ! ...",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}
