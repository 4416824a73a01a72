//! A pipeline that cannot work says what is wrong and what helps: caps that downstream refuses, no
//! producer, a time in the wrong unit, a source in the same pipeline as its sink.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use xmem_core::{Channel, Publisher};
use xmem_tests::nobody::{self, NOBODY};
use xmem_tests::pipeline::{Order, Pipeline, Push, State};
use xmem_tests::{Line, Place, Producer, wire};

const PICTURES: &str =
    "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
const SOUND: &str = "audiotestsrc is-live=true ! audio/x-raw,format=S16LE,rate=48000,channels=2";

fn lacks(message: &Line, words: &[&str]) {
    let text = message.text("text");
    for word in words {
        assert!(!text.contains(word), "{word:?} is in \"{text}\"");
    }
}

#[test]
fn caps_that_downstream_refuses_are_an_error_with_the_element_that_helps() {
    for (source, rest, words) in [
        (
            PICTURES,
            "video/x-raw,format=NV12,width=640 ! fakesink",
            &[
                "format=(string)RGB, width=(int)64",
                "accepts video/x-raw, format=(string)NV12, width=(int)640",
                "format (RGB; NV12 is accepted)",
                "width (64; 640 is accepted)",
                "Put videoconvert ! videoscale behind xmemsrc, or change the caps of",
            ][..],
        ),
        (
            PICTURES,
            "queue ! videoscale ! video/x-raw,format=I420 ! fakesink",
            &[
                "format (RGB; I420 is accepted)",
                "Put videoconvert behind xmemsrc",
            ],
        ),
        (
            SOUND,
            "audio/x-raw,rate=44100,channels=1 ! fakesink",
            &[
                "rate (48000; 44100",
                "channels (2; 1",
                "audioresample ! audioconvert",
            ],
        ),
        (
            "videotestsrc is-live=true ! jpegenc",
            "videoconvert ! fakesink",
            &[
                "image/jpeg",
                "accepts video/x-raw",
                "Put decodebin behind xmemsrc",
            ],
        ),
        (
            PICTURES,
            "image/jpeg ! fakesink",
            &["accepts image/jpeg", "Put jpegenc behind xmemsrc"],
        ),
    ] {
        let place = Place::new();
        let producer = format!("{source} ! xmemsink name=sink channel=cam0");
        let _producer = Pipeline::play(&place, &[], &producer);
        let client = format!("xmemsrc name=src channel=cam0 ! {rest}");
        let mut client = Pipeline::play(&place, &[], &client);
        let error = client.until_message("error");
        error.says("Core.Negotiation", words);
        assert_eq!(error.text("from"), "src");
        // No other message is posted about it.
        client.order(Order::Post);
        client.until("all messages have arrived", |line| {
            line.get("type") == Some("application")
        });
        let errors = client.log().iter();
        // A queue has a thread of its own, and may post that its stream has stopped before that
        // ends.
        let errors = errors
            .filter(|line| line.get("type") == Some("error") && line.get("from") == Some("src"));
        assert_eq!(errors.count(), 1, "{:?}", client.messages());
    }
}

#[test]
fn a_change_to_caps_that_downstream_refuses_is_an_error() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &[], producer);
    let client = "xmemsrc name=src channel=cam0 ! application/x-test ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    producer.until_clients("sink", 1);
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    producer.order(Push::of("application/x-other").size(100));
    let error = client.until_message("error");
    let words = [
        "are application/x-other",
        "accepts application/x-test",
        "Change the caps of",
    ];
    error.says("Core.Negotiation", &words);
}

/// The error of a client without a producer, in this environment.
fn no_producer(place: &Place, environment: &[(&str, &Path)], properties: &str) -> Line {
    let client = format!("xmemsrc {properties} connection-timeout=5000000 ! fakesink");
    let set = |command: std::process::Command| {
        // Set by `env`, because the code that starts the peer sets XMEM_RUNTIME_DIR.
        let mut env = std::process::Command::new("env");
        env.args(["-u", "XMEM_RUNTIME_DIR", "-u", "XDG_RUNTIME_DIR"]);
        for (name, value) in environment {
            env.arg(format!("{name}={}", value.display()));
        }
        env.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            env.env(name, value.expect("a value"));
        }
        env
    };
    let mut client = Pipeline::start_as(place, &[], &client, set);
    client.change(State::Playing);
    let error = client.until_message("error");
    error.says(
        "Resource.NotFound",
        &["no producer at", "connection-timeout"],
    );
    error
}

fn open(path: PathBuf) -> Publisher {
    let builder = Publisher::builder(Channel::path(path));
    builder.open().expect("a channel")
}

fn directory(path: &Path) {
    let mut builder = DirBuilder::new();
    builder.mode(0o700).create(path).expect("a directory");
}

#[test]
fn without_a_producer_the_existing_channels_are_named() {
    let place = Place::new();
    let here = [("XMEM_RUNTIME_DIR", place.path())];
    let error = no_producer(&place, &here, "channel=cam0");
    let directory = place.path().display().to_string();
    let words = [
        &format!("{directory}/cam0.sock"),
        &format!("No channel has a producer in {directory} (from XMEM_RUNTIME_DIR)"),
    ];
    error.says("Resource.NotFound", &words.map(String::as_str));
    let one = open(place.socket("cam1"));
    let error = no_producer(&place, &here, "channel=cam0");
    let words = format!("cam1 has a producer in {directory} (from XMEM_RUNTIME_DIR)");
    error.says("Resource.NotFound", &[&words]);
    let others: Vec<_> = (2..12)
        .map(|number| open(place.socket(&format!("cam{number}"))))
        .collect();
    let error = no_producer(&place, &here, "channel=cam0");
    let words = [
        "these channels have a producer: cam1, cam10, cam11, cam2, ",
        " and 3 more.",
    ];
    error.says("Resource.NotFound", &words);
    drop((one, others));
}

#[test]
fn without_a_producer_a_dead_producer_is_mentioned() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    producer.kill();
    let error = no_producer(
        &place,
        &[("XMEM_RUNTIME_DIR", place.path())],
        "channel=cam0",
    );
    error.says(
        "Resource.NotFound",
        &["The producer that made this socket is gone."],
    );
}

#[test]
fn without_a_producer_another_directory_with_the_channel_is_named() {
    let place = Place::new();
    let [runtime, other] = ["runtime", "other"].map(|name| place.path().join(name));
    let below = runtime.join("xmem");
    for path in [&runtime, &other, &below] {
        directory(path);
    }
    let _producer = open(below.join("cam0.sock"));
    let both = [
        ("XMEM_RUNTIME_DIR", other.as_path()),
        ("XDG_RUNTIME_DIR", &runtime),
    ];
    let error = no_producer(&place, &both, "channel=cam0");
    let set = format!("set XMEM_RUNTIME_DIR={}", below.display());
    let words = [
        &format!("{} (from XMEM_RUNTIME_DIR)", other.display()),
        &set,
    ];
    error.says("Resource.NotFound", &words.map(String::as_str));
    // A channel that the other directory does not have is not mentioned.
    let error = no_producer(&place, &both, "channel=cam1");
    lacks(&error, &["set XMEM_RUNTIME_DIR="]);
    // The other way round.
    let only = [("XDG_RUNTIME_DIR", runtime.as_path())];
    let error = no_producer(&place, &only, "channel=cam1");
    let words = format!(
        "cam0 has a producer in {} (from XDG_RUNTIME_DIR)",
        below.display()
    );
    error.says("Resource.NotFound", &[&words]);
}

#[test]
fn without_a_producer_a_path_that_should_be_a_name_is_explained() {
    let place = Place::new();
    let _producer = open(place.socket("cam0"));
    let here = [("XMEM_RUNTIME_DIR", place.path())];
    let path = place.path().join("below/cam0");
    let error = no_producer(&place, &here, &format!("socket-path={}", path.display()));
    error.says("Resource.NotFound", &["There is no directory"]);
    directory(path.parent().unwrap());
    let error = no_producer(&place, &here, &format!("socket-path={}", path.display()));
    error.says(
        "Resource.NotFound",
        &["set channel=cam0 in place of socket-path"],
    );
}

/// A directory that is removed with the test.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_a_producer_another_users_channel_is_named() {
    if !nobody::is_possible() {
        return;
    }
    // A user ID that this machine does not use.
    const OTHER: u32 = 3_999_999_999;
    let place = Place::new();
    let path = PathBuf::from(format!("/tmp/xmem-{OTHER}"));
    let theirs = Temporary(path.clone());
    let _ = fs::remove_dir_all(&path);
    directory(&theirs.0);
    let socket = wire::listen(&path.join("cam0.sock"));
    let here = [("XMEM_RUNTIME_DIR", place.path())];
    // As long as the directory does not belong to that user, it is no place for that user's
    // channels.
    let error = no_producer(&place, &here, "channel=cam0");
    lacks(&error, &["User "]);
    chown(&path, Some(OTHER), Some(OTHER)).unwrap();
    let error = no_producer(&place, &here, "channel=cam0");
    let words = [
        &format!("User {OTHER} has a channel cam0 in {}", path.display()),
        "socket-path",
        "perms of xmemsink",
    ];
    error.says("Resource.NotFound", &words);
    // No connection was made to it.
    rustix::io::ioctl_fionbio(&socket, true).unwrap();
    let accepted = rustix::net::accept(&socket).map(drop);
    assert_eq!(accepted, Err(rustix::io::Errno::AGAIN));
}

/// What the core finds near a socket's path, as a text.
fn nearby(socket_path: &Path) -> String {
    let found = xmem_core::channels_nearby(socket_path);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_directory_of_another_user_that_can_not_be_looked_into_is_named() {
    const OTHER: u32 = 3_999_999_998;
    let place = Place::new();
    let path = PathBuf::from(format!("/tmp/xmem-{OTHER}"));
    let theirs = Temporary(path.clone());
    let _ = fs::remove_dir_all(&path);
    let said = nobody::run_as_nobody(|| nearby(&place.socket("cam0")));
    let Some(before) = said else { return };
    assert!(!before.contains(&path.display().to_string()), "{before}");
    directory(&theirs.0);
    chown(&path, Some(OTHER), Some(OTHER)).unwrap();
    let runtime = PathBuf::from(format!("/tmp/xmem-{NOBODY}"));
    let own = Temporary(runtime.clone());
    let said = nobody::run_as_nobody(|| {
        let own = own.0.join("cam0.sock");
        nearby(&own)
    });
    let said = said.expect("it was possible before");
    assert!(said.contains("has a directory of channels too"), "{said}");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_time_that_is_meant_in_seconds_says_the_unit() {
    let place = Place::new();
    let client = "xmemsrc channel=cam0 connection-timeout=5 ! fakesink";
    let mut client = Pipeline::play(&place, &[], client);
    let words = [
        "connection-timeout=5 is in nanoseconds",
        "5 seconds are 5000000000",
    ];
    client
        .until_message("warning")
        .says("Resource.Settings", &words);
    client
        .until_message("error")
        .says("Resource.NotFound", &words);
    // A value that is long enough causes no such message.
    let client = "xmemsrc channel=cam0 connection-timeout=1000000 ! fakesink";
    let mut client = Pipeline::play(&place, &[], client);
    lacks(&client.until_message("error"), &["nanoseconds"]);
    assert_eq!(client.messages().len(), 1, "{:?}", client.messages());
}

/// If the source of the sink is not live, it may have prerolled before all of that begins.
#[test]
fn a_source_in_the_pipeline_of_its_sink_asks_for_two_pipelines() {
    for rest in [
        "fakesink name=out",
        "queue ! videoconvert ! fakesink name=out",
        "decodebin ! fakesink name=out",
    ] {
        let place = Place::new();
        let both = format!(
            "{PICTURES} ! xmemsink name=sink channel=cam0 xmemsrc name=src channel=cam0 ! {rest}"
        );
        let mut pipeline = Pipeline::play(&place, &[], &both);
        let warning = pipeline.until_message("warning");
        let words = [
            "sink publishes the channel of this source in the same pipeline",
            "change their states together",
            "two pipelines",
        ];
        warning.says("Resource.Settings", &words);
        assert_eq!(warning.text("from"), "src");
    }
}

#[test]
fn a_source_in_the_pipeline_of_its_sink_says_that_the_latency_grows() {
    let place = Place::new();
    let both = format!(
        "{PICTURES} ! xmemsink name=sink channel=cam0 async=false \
         xmemsrc name=src channel=cam0 ! fakesink sync=true"
    );
    let mut pipeline = Pipeline::play(&place, &[], &both);
    let warning = pipeline.until_message("warning");
    let words = [
        "in the same pipeline",
        "latency of the pipeline grows",
        "two pipelines",
    ];
    warning.says("Resource.Settings", &words);
    assert_eq!(warning.text("from"), "src");
}
