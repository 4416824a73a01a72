//! Properties of other elements that pass frames between processes: a pipeline that sets them works
//! with the elements of xmem instead, and the user is told which of them have no effect.

use gst::glib::{self, ParamFlags, ParamSpec};
use gst::prelude::*;
use tempfile::TempDir;
use xmem_tests::local::{self, Local};
use xmem_tests::pipeline::{Order, Pipeline, State};
use xmem_tests::{Line, Place};

const PICTURES: &str = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48";

/// A value of a property, and what the user is told: nothing, an info message or a warning, with
/// these words.
type Habit = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static [&'static str])>,
);

const WARNING: &str = "warning";
const INFO: &str = "info";

const SINK: [Habit; 16] = [
    (
        "shm-size",
        "1000000",
        Some((INFO, &["shm-size=1000000", "max-bytes"])),
    ),
    ("buffer-time", "-1", None),
    (
        "buffer-time",
        "20000000",
        Some((WARNING, &["buffer-time", "overflow=block"])),
    ),
    ("perms", "0", None),
    ("perms", "432", None),
    (
        "perms",
        "4095",
        Some((WARNING, &["perms=4095 (07777)", "0777"])),
    ),
    ("wait-for-connection", "true", None),
    ("socket-type", "path", None),
    (
        "socket-type",
        "abstract",
        Some((WARNING, &["socket-type=abstract", "file"])),
    ),
    ("min-memory-size", "0", None),
    (
        "min-memory-size",
        "1000000",
        Some((INFO, &["min-memory-size"])),
    ),
    (
        "min-memory-size",
        "-1",
        Some((WARNING, &["min-memory-size=-1", "copies"])),
    ),
    ("cuda-device-id", "-1", None),
    ("cuda-device-id", "0", None),
    ("ipc-mode", "legacy", None),
    ("ipc-mode", "mmap", Some((INFO, &["ipc-mode"]))),
];

const SOURCE: [Habit; 14] = [
    ("is-live", "true", None),
    (
        "is-live",
        "false",
        Some((WARNING, &["is-live=false", "always live", "NO_PREROLL"])),
    ),
    ("do-timestamp", "true", None),
    ("num-buffers", "3", None),
    ("socket-type", "path", None),
    (
        "socket-type",
        "abstract-padded",
        Some((WARNING, &["socket-type=abstract-padded", "file"])),
    ),
    ("cuda-device-id", "-1", None),
    ("cuda-device-id", "1", None),
    ("io-mode", "copy", None),
    ("io-mode", "import", Some((INFO, &["io-mode"]))),
    (
        "processing-deadline",
        "0",
        Some((WARNING, &["processing-deadline", "sinks"])),
    ),
    (
        "buffer-size",
        "10",
        Some((INFO, &["buffer-size", "max-leases"])),
    ),
    // cudaipcsrc counts seconds.
    (
        "connection-timeout",
        "5",
        Some((WARNING, &["nanoseconds", "5000000000"])),
    ),
    ("connection-timeout", "1000000", None),
];

/// The messages of a pipeline in READY, whose element `element` has this property.
fn messages(place: &Place, description: &str) -> Vec<Line> {
    let mut pipeline = Pipeline::start(place, &[], description);
    pipeline.change(State::Ready);
    pipeline.order(Order::Post);
    pipeline.until("all messages have arrived", |line| {
        line.word == "message" && line.get("type") == Some("application")
    });
    let is_told = |line: &&Line| {
        line.word == "message" && [INFO, WARNING, "error"].contains(&line.text("type"))
    };
    let told = pipeline.log().iter().filter(is_told).cloned().collect();
    pipeline.end();
    told
}

fn check(place: &Place, habit: &Habit, description: &str) {
    let (property, value, told) = habit;
    let messages = messages(place, description);
    match told {
        None => assert!(messages.is_empty(), "{property}={value}: {messages:?}"),
        Some((kind, words)) => {
            assert_eq!(messages.len(), 1, "{property}={value}: {messages:?}");
            assert_eq!(messages[0].text("type"), *kind, "{}", messages[0]);
            assert_eq!(messages[0].text("kind"), "Resource.Settings");
            for word in *words {
                let text = messages[0].text("text");
                assert!(text.contains(word), "{word:?} is missing in {text}");
            }
        }
    }
}

#[test]
fn a_sink_takes_what_others_take_and_says_what_has_no_effect() {
    let place = Place::new();
    for habit in &SINK {
        let (property, value, _) = habit;
        let description = format!("{PICTURES} ! xmemsink channel=cam0 {property}={value}");
        check(&place, habit, &description);
    }
}

#[test]
fn a_source_takes_what_others_take_and_says_what_has_no_effect() {
    let place = Place::new();
    for habit in &SOURCE {
        let (property, value, _) = habit;
        let description = format!("xmemsrc channel=cam0 {property}={value} ! fakesink");
        check(&place, habit, &description);
    }
}

#[test]
fn frames_pass_whatever_was_set() {
    let directory = TempDir::new().unwrap();
    let place = Place::new();
    let socket = directory.path().join("x.sock");
    let socket = socket.display();
    let producer = format!(
        "{PICTURES} ! xmemsink name=sink address={socket} shm-size=1 buffer-time=1 \
         socket-type=abstract min-memory-size=-1 cuda-device-id=3 ipc-mode=mmap perms=4095"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    producer.until_stats("sink", "it runs", |stats| stats.number("published") > 0);
    let client = format!(
        "xmemsrc address={socket} is-live=false do-timestamp=true socket-type=abstract \
         cuda-device-id=3 io-mode=import processing-deadline=1 buffer-size=1 num-buffers=20 \
         ! fakesink name=out"
    );
    let mut client = Pipeline::play(&place, &["count out.sink"], &client);
    client.until_eos();
    let watched = client.watched("out.sink");
    assert_eq!(watched.number("count"), 20, "{watched}");
    // The channel needs more memory than one byte; that is posted once.
    let is_size = |line: &&Line| {
        line.get("type") == Some(WARNING) && line.text("text").contains("more than shm-size=1,")
    };
    producer.until("there is more memory than shm-size", |line| is_size(&line));
    let mark = producer.stats("sink").number("published");
    producer.until_stats("sink", "the producer continues", |stats| {
        stats.number("published") > mark + 30
    });
    assert_eq!(producer.log().iter().filter(is_size).count(), 1);
}

#[test]
fn address_is_another_name_of_socket_path() {
    local::init();
    for name in ["xmemsink", "xmemsrc"] {
        let element = gst::ElementFactory::make(name).build().unwrap();
        for (set, read) in [("address", "socket-path"), ("socket-path", "address")] {
            element.set_property(set, format!("/run/{set}.sock"));
            let path: String = element.property(read);
            assert_eq!(path, format!("/run/{set}.sock"));
        }
    }
}

/// Elements around the source, for example urisourcebin, check whether it is live.
#[test]
fn a_source_is_live_whatever_was_set() {
    let place = Place::new();
    let client = Local::new(&format!(
        "{} ! fakesink",
        local::source(&place, "is-live=false")
    ));
    assert!(client.element("src").property::<bool>("is-live"));
    let changed = client.change(gst::State::Paused);
    assert_eq!(changed, gst::StateChangeSuccess::NoPreroll);
}

/// For the installed elements: later versions may have other properties.
#[test]
fn each_property_of_other_elements_accepts_all_their_values() {
    local::init();
    let mut compared = 0;
    for (name, ours) in [
        ("shmsink", "xmemsink"),
        ("shmsrc", "xmemsrc"),
        ("unixfdsink", "xmemsink"),
        ("unixfdsrc", "xmemsrc"),
        ("cudaipcsink", "xmemsink"),
        ("cudaipcsrc", "xmemsrc"),
    ] {
        let Some(factory) = gst::ElementFactory::find(name) else {
            eprintln!("not tried: no element {name}");
            continue;
        };
        let theirs = factory.create().build().expect("an element");
        let ours = gst::ElementFactory::make(ours).build().unwrap();
        let properties = theirs.list_properties();
        let own = properties.iter();
        for property in own.filter(|property| property.owner_type() == theirs.type_()) {
            let of = format!("{name} {}", property.name());
            let found = ours.find_property(property.name());
            let found = found.unwrap_or_else(|| panic!("no property {of}"));
            let both = ParamFlags::READWRITE;
            assert!(found.flags().contains(property.flags() & both), "{of}");
            takes_all(&found, property, &of);
            compared += 1;
        }
    }
    assert!(compared >= 8, "{compared} properties were compared");
}

/// Whether our property accepts all values of the other element's property.
fn takes_all(ours: &ParamSpec, theirs: &ParamSpec, of: &str) {
    if let Some(class) = glib::EnumClass::with_type(theirs.value_type()) {
        let own = glib::EnumClass::with_type(ours.value_type()).expect(of);
        for value in class.values() {
            let found = own.value(value.value()).expect(of);
            assert_eq!(found.nick(), value.nick(), "{of}");
        }
        return;
    }
    let [own, other] = [ours, theirs].map(range);
    match own.zip(other) {
        Some(((least, most), (lower, upper))) => {
            assert!(
                least <= lower && most >= upper,
                "{of}: {own:?} and {other:?}"
            );
        }
        None => assert_eq!(ours.value_type(), theirs.value_type(), "{of}"),
    }
}

/// The range of an integer property.
fn range(property: &ParamSpec) -> Option<(i128, i128)> {
    if let Some(number) = property.downcast_ref::<glib::ParamSpecInt>() {
        Some((number.minimum().into(), number.maximum().into()))
    } else if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt>() {
        Some((number.minimum().into(), number.maximum().into()))
    } else if let Some(number) = property.downcast_ref::<glib::ParamSpecInt64>() {
        Some((number.minimum().into(), number.maximum().into()))
    } else {
        let number = property.downcast_ref::<glib::ParamSpecUInt64>()?;
        Some((number.minimum().into(), number.maximum().into()))
    }
}
