//! Pipelines in processes of their own.
//!
//! A [`Pipeline`] is `xmem-test-pipeline`, which does as it is told and tells what passes its pads.
//! It finds the plugin where `GST_PLUGIN_PATH` says, else beside the test's own program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::line::Line;
use crate::peer::Peer;
use crate::place::Place;
use crate::process;
use crate::random::mix;
use crate::wait::{PATIENCE, until, until_some};

/// How long a change of state or an end may take that nothing may delay, on a busy machine. Every
/// wait that must be interrupted here lasts longer, if it is not.
pub const PROMPT: Duration = Duration::from_secs(2);

/// Where cargo puts programs and libraries: `target/release`, for example.
fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let directory = program.parent().expect("it is in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("deps is in a directory"),
        _ => directory,
    }
    .to_owned()
}

/// Sets what GStreamer needs to find this tree's plugin, and nobody else's registry.
pub fn set_environment(command: &mut Command) {
    static REGISTRY: OnceLock<PathBuf> = OnceLock::new();
    let set_paths = |command: &mut Command, registry: &Path| {
        if std::env::var_os("GST_PLUGIN_PATH").is_none_or(|path| path.is_empty()) {
            command.env("GST_PLUGIN_PATH", profile_directory());
        }
        command.env("GST_REGISTRY", registry);
    };
    // Filled once, not by each of many processes that start at the same time.
    let registry = REGISTRY.get_or_init(|| {
        let directory = profile_directory().with_file_name("tmp");
        std::fs::create_dir_all(&directory).expect("a directory beside that of the programs");
        let profile = profile_directory();
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

/// A client as most tests want it.
pub const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out";
/// A source of small pictures.
pub const PICTURES: &str =
    "videotestsrc name=v pattern=ball ! video/x-raw,format=RGB,width=64,height=48";
/// Of a sink: as fast as its clients, and waits an hour for one of them.
pub const BLOCKING: &str = "sync=false overflow=block block-timeout=3600000000000";

/// A producer with this source that waits for a client, which is stopped: in the buffer pool, or,
/// where it copies, in the sink.
pub fn blocked_by_a_stopped_client(place: &Place, source: &str) -> (Pipeline, Pipeline) {
    let producer = format!("{source} ! xmemsink name=sink channel=cam0 {BLOCKING}");
    let mut producer = Pipeline::play(place, &[], &producer);
    let mut client = Pipeline::play(place, &["count out.sink"], CLIENT);
    producer.until_clients("sink", 1);
    until("the client receives", || {
        client.order("watched at=out.sink").number("count") > 10
    });
    client.stop();
    producer.until_stuck("sink", "v:src");
    (producer, client)
}

/// A process that runs a pipeline, and all that it has said.
#[derive(Debug)]
pub struct Pipeline {
    peer: Peer,
    log: Vec<Line>,
    orders: u64,
}

impl Pipeline {
    /// Starts a pipeline, in NULL, whose pads are watched as `watches` say: `report sink.sink`, for
    /// example.
    pub fn start(place: &Place, watches: &[&str], description: &str) -> Pipeline {
        Pipeline::start_as(place, watches, description, |command| command)
    }

    /// As [`start`](Pipeline::start), but by the command that `prepare` makes of the usual one.
    pub fn start_as(
        place: &Place,
        watches: &[&str],
        description: &str,
        prepare: impl FnOnce(Command) -> Command,
    ) -> Pipeline {
        let mut command = Command::new(profile_directory().join("xmem-test-pipeline"));
        set_environment(&mut command);
        for watch in watches {
            let (how, pad) = watch.split_once(' ').expect("how to watch, and a pad");
            command.arg(format!("--{how}")).arg(pad);
        }
        command.arg(description);
        let mut pipeline = Pipeline {
            peer: Peer::spawn(prepare(command), place, description),
            log: Vec::new(),
            orders: 0,
        };
        pipeline.until("it is ready", |line| line.word == "ready");
        pipeline
    }

    /// As [`start`](Pipeline::start), and plays it.
    pub fn play(place: &Place, watches: &[&str], description: &str) -> Pipeline {
        let mut pipeline = Pipeline::start(place, watches, description);
        pipeline.change("playing");
        pipeline
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.peer.pid()
    }

    /// Waits until it has said a line that `look` wants; one that it has said before will do.
    ///
    /// # Panics
    /// When it says none.
    pub fn until(&mut self, what: &str, look: impl FnMut(&Line) -> bool) -> Line {
        self.until_since(0, what, look)
    }

    /// As [`until`](Pipeline::until), but what it had said before `mark` does not count.
    ///
    /// # Panics
    /// When it says none.
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
            assert!(Instant::now() < deadline, "within {PATIENCE:?}: {what}");
            let line = self.peer.next_line();
            self.log.push(line);
        }
    }

    /// All that it has said and was looked at so far.
    pub fn log(&self) -> &[Line] {
        &self.log
    }

    /// Where its talk is now, for [`until_since`](Pipeline::until_since).
    pub fn mark(&self) -> usize {
        self.log.len()
    }

    /// Gives an order and does not wait for the answer; tells the order's number.
    pub fn send(&mut self, order: &str) -> u64 {
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

    /// Gives an order, and waits for the answer.
    pub fn order(&mut self, order: &str) -> Line {
        let number = self.send(order);
        self.answer(number)
    }

    /// Changes its state, and tells how long that took.
    ///
    /// # Panics
    /// When it fails.
    pub fn change(&mut self, state: &str) -> Duration {
        let changed = self.order(&format!("state to={state}"));
        let result = changed.text("result");
        assert_ne!(result, "Failure", "to {state}: {:#?}", self.messages());
        Duration::from_millis(changed.number("ms"))
    }

    /// Changes its state where that must not fail and nothing may delay it.
    pub fn change_promptly(&mut self, state: &str) {
        let time = self.change(state);
        assert!(time < PROMPT, "to {state} took {time:?}");
    }

    /// Changes its state, and waits until that is done: while a state changes, others are put off.
    pub fn settle(&mut self, state: &str) {
        self.change_promptly(state);
        let settled = self.order("settle");
        assert_ne!(settled.text("result"), "Failure", "{settled}");
        assert_eq!(settled.text("state").to_lowercase(), state, "{settled}");
    }

    /// Has the element `src` push so many buffers.
    pub fn push(&mut self, count: u32) {
        let order = format!("push from=src caps=application/x-test size=100 count={count}");
        assert_eq!(self.order(&order).text("flow"), "Ok");
    }

    /// Waits until the stream of the sink `sink` stands still, and the thread `thread` waits.
    pub fn until_stuck(&mut self, sink: &str, thread: &str) {
        let (mut published, mut times) = (0, 0);
        until("the producer is blocked", || {
            let now = self.stats(sink).number("published");
            times = match now == published {
                true => times + 1,
                false => 0,
            };
            published = now;
            times == 20
        });
        process::until_asleep(self.pid(), thread);
    }

    /// Waits until `count` buffers have passed a pad that is reported.
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

    /// The buffers that have passed a pad, as far as they were told of.
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

    /// What was posted on the bus, but for what every pipeline posts.
    pub fn messages(&self) -> Vec<String> {
        let is_told = |line: &&Line| line.word == "message" && line.text("type") != "latency";
        let messages = self.log.iter().filter(is_told);
        messages.map(Line::to_string).collect()
    }

    /// Waits for a message of a type: `eos`, `error` or `warning`.
    pub fn until_message(&mut self, kind: &str) -> Line {
        self.until(&format!("{kind} is posted"), |line| {
            line.word == "message" && line.text("type") == kind
        })
    }

    /// Waits for the end of the stream.
    ///
    /// # Panics
    /// When there is an error instead.
    pub fn until_eos(&mut self) {
        let end = self.until("the stream ends", |line| {
            line.word == "message" && ["eos", "error"].contains(&line.text("type"))
        });
        assert_eq!(end.text("type"), "eos", "{end}");
    }

    /// Waits until the sink `sink` has told that it has `count` clients.
    pub fn until_clients(&mut self, sink: &str, count: u64) {
        self.until_clients_since(0, sink, count);
    }

    /// As [`until_clients`](Pipeline::until_clients), but it must tell so after `mark`.
    pub fn until_clients_since(&mut self, mark: usize, sink: &str, count: u64) {
        self.until_since(mark, &format!("{sink} has {count} clients"), |line| {
            line.word == "notify"
                && line.text("from") == sink
                && line.text("property") == "num-clients"
                && line.number("value") == count
        });
    }

    /// The figures of an element.
    pub fn stats(&mut self, element: &str) -> Line {
        self.order(&format!("stats of={element}"))
    }

    /// Waits for figures of an element that `look` accepts.
    pub fn until_stats(&mut self, element: &str, what: &str, look: impl Fn(&Line) -> bool) -> Line {
        until_some(what, || {
            let stats = self.stats(element);
            look(&stats).then_some(stats)
        })
    }

    /// Stops it as `SIGSTOP` does.
    pub fn stop(&self) {
        self.peer.stop();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.peer.resume();
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.peer.kill();
    }

    /// Tells it to go to NULL and end, and waits until it has.
    pub fn end(&mut self) {
        self.peer.end();
    }
}

/// The running time of a buffer that has passed a pad, in nanoseconds.
///
/// # Panics
/// When it has none.
pub fn running_time(buffer: &Line) -> i128 {
    let number = |key| buffer.text(key).parse::<i128>();
    let due = number("due").unwrap_or_else(|_| panic!("no running time: {buffer}"));
    due - number("base-time").expect("a time")
}

fn is_buffer(line: &Line, at: &str) -> bool {
    line.word == "buffer" && line.text("at") == at
}

/// Fills bytes with what `seed` decides.
pub fn fill(seed: u64, bytes: &mut [u8]) {
    for (number, chunk) in bytes.chunks_mut(8).enumerate() {
        let value = mix(seed ^ mix(number as u64)).to_le_bytes();
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
}

/// The names of a process's threads.
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let names = tasks.flatten().map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.trim_end().to_owned()
    });
    names.collect()
}
