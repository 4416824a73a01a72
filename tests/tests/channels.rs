//! Listing channels: what a process learns, and what that costs the producers.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{Shutdown, shutdown};
use xmem_core::{
    Canceller, ChannelChange, ChannelMonitor, Error, LiveChannel, Publisher, PublisherEvent,
};
use xmem_tests::{PATIENCE, Place, Producer, process, until, wire};

/// A process that watches channels, and what it has learned so far.
struct Looker {
    monitor: ChannelMonitor,
    channels: BTreeMap<String, LiveChannel>,
}

impl Looker {
    fn new(place: &Place) -> Looker {
        Looker {
            monitor: ChannelMonitor::of(place.path(), Canceller::new()),
            channels: BTreeMap::new(),
        }
    }

    /// Applies the next changes.
    fn look(&mut self, timeout: Duration) {
        for change in self.monitor.changes(Some(timeout)).expect("a look") {
            match change {
                ChannelChange::Appeared(channel) => {
                    let name = channel.name.clone();
                    let before = self.channels.insert(name, channel);
                    assert_eq!(before, None, "the channel was added before");
                }
                ChannelChange::Changed { before, now } => {
                    assert_ne!(before, now);
                    let name = now.name.clone();
                    assert_eq!(self.channels.insert(name, now), Some(before));
                }
                ChannelChange::Gone(channel) => {
                    assert_eq!(self.channels.remove(&channel.name), Some(channel));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The names of the channels after another look.
    fn names(&mut self) -> Vec<String> {
        self.look(Duration::ZERO);
        self.channels.keys().cloned().collect()
    }

    /// Waits until `is_met` accepts the channels.
    fn until(&mut self, what: &str, is_met: impl Fn(&BTreeMap<String, LiveChannel>) -> bool) {
        until(what, || {
            if !is_met(&self.channels) {
                self.look(PATIENCE);
            }
            is_met(&self.channels)
        });
    }
}

fn open(place: &Place, name: &str) -> Publisher {
    let builder = Publisher::builder(place.channel(name));
    builder.open().expect("a channel")
}

#[test]
fn each_channel_is_listed_with_its_producer_and_its_format() {
    let place = Place::new();
    let producer = Producer::start(&place, "");
    let publisher = open(&place, "cam1");
    publisher.set_format("video/x-raw").unwrap();
    let mut looker = Looker::new(&place);
    assert_eq!(looker.names(), ["cam0", "cam1"]);
    let [cam0, cam1] = ["cam0", "cam1"].map(|name| &looker.channels[name]);
    assert_eq!((cam0.pid, &cam0.format), (Some(producer.pid()), &None));
    assert_eq!(cam1.pid, Some(std::process::id()));
    assert_eq!(cam1.format.as_deref(), Some(&b"video/x-raw"[..]));
    assert_eq!(cam0.socket_path, place.socket("cam0"));
}

#[test]
fn channels_come_and_go_while_a_process_looks() {
    let place = Place::new();
    let mut looker = Looker::new(&place);
    assert_eq!(looker.names(), [""; 0]);
    for _ in 0..3 {
        let mut killed = Producer::launch(&place, "channel=killed");
        let stopped = open(&place, "stopped");
        looker.until("both channels are listed", |channels| channels.len() == 2);
        assert_eq!(looker.channels["killed"].pid, Some(killed.pid()));
        killed.kill();
        looker.until("one channel is gone", |channels| {
            !channels.contains_key("killed")
        });
        drop(stopped);
        looker.until("the other channel is gone", BTreeMap::is_empty);
    }
}

#[test]
fn a_producer_that_takes_the_place_of_a_dead_one_is_another_channel() {
    let place = Place::new();
    let mut looker = Looker::new(&place);
    let mut first = Producer::start(&place, "");
    assert_eq!(looker.names(), ["cam0"]);
    first.kill();
    let second = Producer::start(&place, "");
    let pid = second.pid();
    looker.until("the second producer is listed", |channels| {
        channels
            .get("cam0")
            .is_some_and(|channel| channel.pid == Some(pid))
    });
}

#[test]
fn a_later_format_and_a_changed_format_are_listed() {
    let place = Place::new();
    let publisher = open(&place, "cam0");
    let mut looker = Looker::new(&place);
    assert_eq!(looker.names(), ["cam0"]);
    for format in ["video/x-raw", "audio/x-raw"] {
        publisher.set_format(format).unwrap();
        looker.until("the format is told", |channels| {
            channels["cam0"].format.as_deref() == Some(format.as_bytes())
        });
    }
}

/// The look takes no place of a client, makes no slot, and reports nothing to the application.
#[test]
fn a_process_that_lists_channels_is_not_a_client() {
    let place = Place::new();
    let told: Arc<Mutex<Vec<PublisherEvent>>> = Arc::default();
    let builder = Publisher::builder(place.channel("cam0")).max_clients(1);
    let publisher = builder.on_event({
        let told = told.clone();
        move |event| told.lock().unwrap().push(event)
    });
    let publisher = publisher.open().unwrap();
    publisher.set_format("video/x-raw").unwrap();
    let before = publisher.stats();
    for _ in 0..50 {
        let mut looker = Looker::new(&place);
        assert_eq!(looker.names(), ["cam0"]);
        let format = &looker.channels["cam0"].format;
        assert_eq!(format.as_deref(), Some(&b"video/x-raw"[..]));
    }
    let after = publisher.stats();
    assert_eq!((after.slots, after.bytes), (before.slots, before.bytes));
    assert_eq!(publisher.num_clients(), 0);
    assert!(matches!(
        publisher.wait_for_clients(1, Some(Duration::ZERO)),
        Err(Error::TimedOut)
    ));
    let told = told.lock().unwrap();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn only_sockets_with_a_producer_are_channels() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    let live = open(&place, "live");
    fs::write(at("file.sock"), "").unwrap();
    fs::create_dir(at("directory.sock")).unwrap();
    symlink(at("live.sock"), at("link.sock")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at("fifo.sock"), FileType::Fifo, mode, 0).unwrap();
    let _other_program = UnixListener::bind(at("stream.sock")).unwrap();
    let _hidden = wire::listen(&at(".hidden.sock"));
    let _other_name = wire::listen(&at("other"));
    let _unfinished = wire::listen(&at("unfinished.sock"));
    fs::set_permissions(at("unfinished.sock"), Permissions::from_mode(0o1600)).unwrap();
    let dead = wire::listen(&at("dead.sock"));
    shutdown(&dead, Shutdown::Both).unwrap();
    drop(dead);
    let mut looker = Looker::new(&place);
    assert_eq!(looker.names(), ["live"]);
    // Files of the user stay as they are.
    assert_eq!(place.files().len(), 10);
    drop(live);
}

#[test]
fn a_directory_is_looked_at_when_it_comes_and_not_while_others_may_write_it() {
    let place = Place::new();
    let directory = place.path().join("below/later");
    let canceller = Canceller::new();
    let mut monitor = ChannelMonitor::of(&directory, canceller);
    let mut look = |timeout| monitor.changes(Some(timeout)).unwrap().len();
    assert_eq!(look(Duration::ZERO), 0);
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let builder = Publisher::builder(xmem_core::Channel::path(directory.join("cam0.sock")));
    let _publisher = builder.open().unwrap();
    assert_eq!(look(Duration::ZERO), 0);
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(look(PATIENCE), 1);
}

#[test]
fn the_first_of_many_channels_are_listed() {
    let place = Place::new();
    let publishers: Vec<_> = (0..140)
        .map(|number| open(&place, &format!("cam{number:03}")))
        .collect();
    let mut looker = Looker::new(&place);
    let names: Vec<_> = (0..128).map(|number| format!("cam{number:03}")).collect();
    until("the maximum number of channels is listed", || {
        looker.names() == names
    });
    drop(publishers);
    looker.until("all channels are gone", BTreeMap::is_empty);
}

#[test]
fn a_stopped_producer_is_listed_and_does_not_delay_the_list() {
    let place = Place::new();
    let mut stopped = Producer::start(&place, "");
    stopped.stop();
    let _other = open(&place, "cam1");
    let mut looker = Looker::new(&place);
    assert_eq!(looker.names(), ["cam0", "cam1"]);
    assert_eq!(looker.channels["cam0"].pid, Some(stopped.pid()));
    stopped.kill();
    looker.until("the channel is gone", |channels| {
        !channels.contains_key("cam0")
    });
}

#[test]
fn a_channel_is_listed_whatever_its_producer_answers() {
    let place = Place::new();
    let hello = wire::hello(wire::VERSION, 1);
    let long = "x".repeat(4080);
    let answers: [(&[u8], Option<&str>); 9] = [
        (&wire::answer(11, "video/x-raw"), Some("video/x-raw")),
        (&wire::answer(4080, &long), Some(&long)),
        (&wire::answer(5000, ""), None),
        (&wire::answer(0, ""), None),
        (&wire::answer(12, "video/x-raw"), None),
        (
            &wire::message(wire::ANSWER, &[3, 0, 0, 0, 1, 0, 0, 0, 0xff]),
            None,
        ),
        (
            &wire::message(wire::ANSWER, &[4, 0, 0, 0, 0, 0, 0, 0]),
            None,
        ),
        (&hello, None),
        (&[1, 2, 3], None),
    ];
    for (answer, format) in answers {
        let listener = wire::listen(&place.socket("cam0"));
        let mut looker = Looker::new(&place);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let connection = wire::accept(&listener);
                let asked = connection.receive().expect("a question");
                assert_eq!(asked.kind, wire::ASK);
                connection.send(answer, &[]).expect("it waits");
                // Until the asking process has closed its end.
                connection.read_to_end();
            });
            looker.look(PATIENCE);
            let channel = looker.channels.get("cam0").expect("it is there");
            assert_eq!(channel.format.as_deref(), format.map(str::as_bytes));
            // Hangs up, so that the other end's thread ends.
            drop(looker);
        });
        fs::remove_file(place.socket("cam0")).unwrap();
    }
}

#[test]
fn a_producer_answers_a_question_and_hangs_up() {
    let place = Place::new();
    let publisher = open(&place, "cam0");
    let ask = |question: &[u8]| {
        let connection = wire::Connection::open(&place.socket("cam0"));
        connection.send(question, &[]).expect("the message is sent");
        let answer = connection.receive().expect("an answer");
        assert!(connection.receive().is_none());
        answer
    };
    let mut expected = vec![wire::VERSION as u8, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask(&wire::question(wire::VERSION)).body, expected);
    publisher.set_format("video/x-raw").unwrap();
    expected[4] = 11;
    expected.extend(b"video/x-raw");
    assert_eq!(ask(&wire::question(wire::VERSION)).body, expected);
    // One that is too long is told by its length.
    publisher.set_format("x".repeat(4081)).unwrap();
    let answer = ask(&wire::question(wire::VERSION));
    assert_eq!((answer.u32_at(4), answer.body.len()), (4081, 8));
    let refused = ask(&wire::question(9));
    assert!(
        refused.reason().contains("version 9"),
        "{}",
        refused.reason()
    );
}

/// A client that received a Welcome has another way to learn the format.
#[test]
fn a_connected_client_cannot_ask_for_the_format() {
    let place = Place::new();
    let publisher = open(&place, "cam0");
    let connection = wire::Connection::open(&place.socket("cam0"));
    assert_eq!(connection.greet(wire::VERSION, 1).kind, wire::WELCOME);
    let question = wire::question(wire::VERSION);
    connection
        .send(&question, &[])
        .expect("the message is sent");
    let refused = connection.receive_kind(wire::BYE);
    assert!(refused.reason().contains("can't send now"));
    assert_eq!(publisher.num_clients(), 0);
}

#[test]
fn a_look_that_waits_can_be_cancelled() {
    let place = Place::new();
    let canceller = Canceller::new();
    let mut monitor = ChannelMonitor::of(place.path(), canceller.clone());
    std::thread::scope(|scope| {
        let looking = scope.spawn(move || {
            rustix::thread::set_name(c"looks").unwrap();
            monitor.changes(None)
        });
        process::until_asleep(std::process::id(), "looks");
        canceller.cancel();
        assert!(matches!(looking.join().unwrap(), Err(Error::Cancelled)));
    });
}
