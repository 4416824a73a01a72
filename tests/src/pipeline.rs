//! Pipelines in processes of their own.
//!
//! A [`Pipeline`] is an `xmem-test-pipeline`, which obeys orders and reports what passes its pads.
//! It finds the plugin in `GST_PLUGIN_PATH`, or beside the test program.

pub mod cuda;
mod event;
mod order;
mod push;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use event::{Custom, Event, Kind, Seek, Segment, Way};
pub use order::{Clock, Format, Order, State};
pub use push::{Memfds, Push};

use crate::line::Line;
use crate::peer::Peer;
use crate::place::Place;
use crate::random::mix;
use crate::wait::{PATIENCE, until, until_some};
use crate::{process, program};

/// How long a state change or an end may take on a busy machine if nothing may delay it. Every wait
/// that must be interrupted here would last longer without the interruption.
pub const PROMPT: Duration = Duration::from_secs(2);

/// Sets the environment in which GStreamer finds the plugin of this tree, with a registry of its
/// own.
pub fn set_environment(command: &mut Command) {
    static REGISTRY: OnceLock<PathBuf> = OnceLock::new();
    let set_paths = |command: &mut Command, registry: &Path| {
        if std::env::var_os("GST_PLUGIN_PATH").is_none_or(|path| path.is_empty()) {
            command.env("GST_PLUGIN_PATH", program::directory());
        }
        command.env("GST_REGISTRY", registry);
    };
    // Filled once, and not by each of many processes that start at the same time.
    let registry = REGISTRY.get_or_init(|| {
        let directory = program::directory().with_file_name("tmp");
        std::fs::create_dir_all(&directory).expect("a directory beside that of the programs");
        let profile = program::directory();
        let profile = profile.file_name().unwrap_or_default().to_string_lossy();
        let registry = directory.join(format!("gst-registry-{profile}.bin"));
        let mut inspect = Command::new("gst-inspect-1.0");
        set_paths(inspect.arg("xmemsink"), &registry);
        let output = inspect.output().expect("gst-inspect-1.0 starts");
        assert!(
            output.status.success(),
            "GStreamer does not find xmemsink: build the plugin (cargo build --release -p \
             gst-plugin-xmem) or set GST_PLUGIN_PATH"
        );
        registry
    });
    set_paths(command, registry);
    command
        .env("GST_REGISTRY_UPDATE", "no")
        .env("G_DEBUG", "fatal-criticals");
}

/// The client of most tests.
pub const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out";
/// A producer of the buffers that a test pushes.
pub const PUSHING: &str = "appsrc name=src format=time ! xmemsink name=sink channel=cam0";
/// Properties of a sink that is as fast as its clients, and waits 20 seconds for one of them.
pub const LOSSLESS: &str = "sync=false overflow=block block-timeout=20000000000";
/// A source of small pictures.
pub const PICTURES: &str =
    "videotestsrc name=v pattern=ball ! video/x-raw,format=RGB,width=64,height=48";
/// Properties of a sink that is as fast as its clients, and waits up to an hour for one of them.
pub const BLOCKING: &str = "sync=false overflow=block block-timeout=3600000000000";

/// Starts a producer with this source, and a stopped client that the producer waits for: in the
/// buffer pool, or in the sink if it copies.
pub fn blocked_by_a_stopped_client(place: &Place, source: &str) -> (Pipeline, Pipeline) {
    let producer = format!("{source} ! xmemsink name=sink channel=cam0 {BLOCKING}");
    let mut producer = Pipeline::play(place, &[], &producer);
    let mut client = Pipeline::play(place, &["count out.sink"], CLIENT);
    producer.until_clients("sink", 1);
    until("the client receives", || {
        client.watched("out.sink").number("count") > 10
    });
    client.stop();
    producer.until_stuck("sink", "v:src");
    (producer, client)
}

/// A process that runs a pipeline, and all its output.
#[derive(Debug)]
pub struct Pipeline {
    peer: Peer<Order>,
    log: Vec<Line>,
    orders: u64,
}

impl Pipeline {
    /// Starts a pipeline, in NULL. `watches` say which pads are watched and how:
    /// `report sink.sink`, for example.
    pub fn start(place: &Place, watches: &[&str], description: &str) -> Pipeline {
        Pipeline::start_as(place, watches, description, |command| command)
    }

    /// As [`start`](Pipeline::start), with the command that `prepare` makes of the usual one.
    pub fn start_as(
        place: &Place,
        watches: &[&str],
        description: &str,
        prepare: impl FnOnce(Command) -> Command,
    ) -> Pipeline {
        let mut command = Peer::<Order>::command("");
        set_environment(&mut command);
        for watch in watches {
            let (how, pad) = watch.split_once(' ').expect("how to watch, and a pad");
            command.arg(format!("--{how}")).arg(pad);
        }
        command.arg(description);
        let mut pipeline = Pipeline {
            peer: Peer::spawn(prepare(command), place),
            log: Vec::new(),
            orders: 0,
        };
        pipeline.until("the process is ready", |line| line.word == "ready");
        pipeline
    }

    /// As [`start`](Pipeline::start), and plays the pipeline.
    pub fn play(place: &Place, watches: &[&str], description: &str) -> Pipeline {
        let mut pipeline = Pipeline::start(place, watches, description);
        pipeline.change(State::Playing);
        pipeline
    }

    /// As [`play`](Pipeline::play), once the sink `sink` has this number of clients.
    pub fn play_for(clients: u64, place: &Place, watches: &[&str], description: &str) -> Pipeline {
        let mut pipeline = Pipeline::start(place, watches, description);
        pipeline.change(State::Ready);
        pipeline.until_clients("sink", clients);
        pipeline.change(State::Playing);
        pipeline
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.peer.pid()
    }

    /// Waits for a line that `look` accepts. Earlier lines count too.
    ///
    /// # Panics
    /// If none comes in time.
    pub fn until(&mut self, what: &str, look: impl FnMut(&Line) -> bool) -> Line {
        self.until_since(0, what, look)
    }

    /// As [`until`](Pipeline::until), but lines before `mark` do not count.
    ///
    /// # Panics
    /// If none comes in time.
    pub fn until_since(
        &mut self,
        mark: usize,
        what: &str,
        mut look: impl FnMut(&Line) -> bool,
    ) -> Line {
        let deadline = Instant::now() + PATIENCE;
        let mut next = mark;
        loop {
            while let Some(line) = self.log.get(next) {
                if look(line) {
                    return line.clone();
                }
                next += 1;
            }
            if Instant::now() >= deadline {
                self.peer.fail(&format!("within {PATIENCE:?}: {what}"));
            }
            let line = self.peer.next_line();
            self.log.push(line);
        }
    }

    /// The output that has been read so far.
    pub fn log(&self) -> &[Line] {
        &self.log
    }

    /// The current end of the output, for [`until_since`](Pipeline::until_since).
    pub fn mark(&self) -> usize {
        self.log.len()
    }

    /// Sends an order without waiting for the answer. Returns the number of the order.
    pub fn send(&mut self, order: impl Into<Order>) -> u64 {
        self.peer.order(order);
        self.orders += 1;
        self.orders - 1
    }

    /// Waits for the answer to an order.
    pub fn answer(&mut self, number: u64) -> Line {
        self.until("the order is answered", |line| {
            line.get_number("order") == Some(number)
        })
    }

    /// Sends an order and waits for the answer.
    pub fn order(&mut self, order: impl Into<Order>) -> Line {
        let number = self.send(order);
        self.answer(number)
    }

    /// Changes the state, and returns how long that took.
    ///
    /// # Panics
    /// If it fails.
    pub fn change(&mut self, state: State) -> Duration {
        let changed = self.order(state);
        let result = changed.text("result");
        assert_ne!(result, "Failure", "to {state:?}: {:#?}", self.messages());
        Duration::from_millis(changed.number("ms"))
    }

    /// Changes the state. That must not fail, and must not take longer than [`PROMPT`].
    pub fn change_promptly(&mut self, state: State) {
        let time = self.change(state);
        assert!(time < PROMPT, "to {state:?} took {time:?}");
    }

    /// Changes the state, and waits until the change is complete: GStreamer puts off other state
    /// changes until then.
    pub fn settle(&mut self, state: State) {
        self.change_promptly(state);
        let settled = self.settled();
        assert_ne!(settled.text("result"), "Failure", "{settled}");
        assert_eq!(settled.text("state"), format!("{state:?}"), "{settled}");
    }

    /// Waits until the last change of the state is complete.
    pub fn settled(&mut self) -> Line {
        self.order(Order::Settle(None))
    }

    /// Pushes buffers, which are accepted.
    ///
    /// # Panics
    /// If they are not.
    pub fn push(&mut self, buffers: impl Into<Push>) {
        let buffers = buffers.into();
        let flow = self.order(&buffers);
        assert_eq!(flow.text("flow"), "Ok", "{buffers:?}");
    }

    /// The number of buffers that have passed a watched pad (`count`), of their bytes (`size`), and
    /// their digests, combined (`digest`).
    pub fn watched(&mut self, at: &str) -> Line {
        self.order(Order::Watched(at.into()))
    }

    /// Keeps the last `count` buffers that pass a watched pad.
    pub fn hold(&mut self, at: &str, count: usize) {
        let at = at.into();
        self.order(Order::Hold { at, count });
    }

    /// The digests of the kept buffers.
    pub fn held(&mut self, at: &str) -> String {
        self.order(Order::Digest(at.into())).text("held").to_owned()
    }

    /// Waits until the stream of the sink `sink` has stopped, and the thread `thread` waits.
    pub fn until_stuck(&mut self, sink: &str, thread: &str) {
        let (mut published, mut times) = (0, 0);
        until("the producer is blocked", || {
            let now = self.stats(sink).number("published");
            times = if now == published { times + 1 } else { 0 };
            published = now;
            times == 20
        });
        process::until_asleep(self.pid(), thread);
    }

    /// Waits until `count` buffers have passed a reported pad.
    pub fn until_buffers(&mut self, at: &str, count: usize) {
        self.until_buffers_since(0, at, count);
    }

    /// As [`until_buffers`](Pipeline::until_buffers), counted from `mark`.
    pub fn until_buffers_since(&mut self, mark: usize, at: &str, count: usize) {
        let mut seen = 0;
        self.until_since(mark, &format!("{count} buffers pass {at}"), |line| {
            seen += usize::from(is_buffer(line, at));
            seen >= count
        });
    }

    /// The buffers that have passed a pad, as far as they were reported.
    pub fn buffers(&self, at: &str) -> Vec<&Line> {
        let lines = self.log.iter();
        lines.filter(|line| is_buffer(line, at)).collect()
    }

    /// The digests of the buffers that have passed a pad.
    pub fn digests(&self, at: &str) -> Vec<&str> {
        let buffers = self.buffers(at);
        buffers.iter().map(|line| line.text("digest")).collect()
    }

    /// The caps that have passed a pad.
    pub fn caps(&self, at: &str) -> Vec<&str> {
        let caps = |line: &&Line| {
            line.word == "event" && line.text("at") == at && line.text("type") == "caps"
        };
        let lines = self.log.iter().filter(caps);
        lines.map(|line| line.text("text")).collect()
    }

    /// The messages of the bus, except those that every pipeline posts.
    pub fn messages(&self) -> Vec<String> {
        let is_told = |line: &&Line| line.word == "message" && line.text("type") != "latency";
        let messages = self.log.iter().filter(is_told);
        messages.map(Line::to_string).collect()
    }

    /// Waits for a message of this type: `eos`, `error` or `warning`.
    pub fn until_message(&mut self, kind: &str) -> Line {
        self.until(&format!("{kind} is posted"), |line| {
            line.word == "message" && line.text("type") == kind
        })
    }

    /// Waits for EOS.
    ///
    /// # Panics
    /// If an error comes instead.
    pub fn until_eos(&mut self) {
        let end = self.until("the stream ends", |line| {
            line.word == "message" && ["eos", "error"].contains(&line.text("type"))
        });
        assert_eq!(end.text("type"), "eos", "{end}");
    }

    /// Waits until the sink `sink` has reported `count` clients.
    pub fn until_clients(&mut self, sink: &str, count: u64) {
        self.until_clients_since(0, sink, count);
    }

    /// As [`until_clients`](Pipeline::until_clients), but the report must come after `mark`.
    pub fn until_clients_since(&mut self, mark: usize, sink: &str, count: u64) {
        self.until_since(mark, &format!("{sink} has {count} clients"), |line| {
            line.word == "notify"
                && line.text("from") == sink
                && line.text("property") == "num-clients"
                && line.number("value") == count
        });
    }

    /// The statistics of an element.
    pub fn stats(&mut self, element: &str) -> Line {
        self.order(Order::Stats(element.into()))
    }

    /// Waits for statistics of an element that `look` accepts.
    pub fn until_stats(&mut self, element: &str, what: &str, look: impl Fn(&Line) -> bool) -> Line {
        until_some(what, || {
            let stats = self.stats(element);
            look(&stats).then_some(stats)
        })
    }

    /// Stops the process with `SIGSTOP`.
    pub fn stop(&self) {
        self.peer.stop();
    }

    /// Continues the process with `SIGCONT`.
    pub fn resume(&self) {
        self.peer.resume();
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.peer.kill();
    }

    /// Has the process change the state to NULL and end, and waits until it has ended.
    pub fn end(&mut self) {
        self.peer.end();
    }
}

/// The running time of a buffer that has passed a pad, in nanoseconds.
///
/// # Panics
/// If it has none.
pub fn running_time(buffer: &Line) -> i128 {
    let number = |key| buffer.text(key).parse::<i128>();
    let due = number("due").unwrap_or_else(|_| panic!("no running time: {buffer}"));
    due - number("base-time").expect("a time")
}

fn is_buffer(line: &Line, at: &str) -> bool {
    line.word == "buffer" && line.text("at") == at
}

/// Fills a slice with bytes that `seed` determines.
pub fn fill(seed: u64, bytes: &mut [u8]) {
    for (number, chunk) in bytes.chunks_mut(8).enumerate() {
        let value = mix(seed ^ mix(number as u64)).to_le_bytes();
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
}

/// The names of the threads of a process.
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process exists");
    let names = tasks.flatten().map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.trim_end().to_owned()
    });
    names.collect()
}
