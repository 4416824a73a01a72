//! The connection on which a test commands the driver of a process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::line::Line;
use crate::wait::PATIENCE;

/// A connection to the driver of a process.
#[derive(Debug)]
pub struct Control {
    commands: UnixStream,
    answers: BufReader<UnixStream>,
}

/// What a release of held work has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkRun {
    /// How much work has run.
    pub count: u64,
    /// How much is left in all streams.
    pub left: u64,
}

impl Control {
    /// Connects, if the process listens.
    pub(super) fn connect(path: &Path) -> Option<Control> {
        let commands = UnixStream::connect(path).ok()?;
        commands.set_read_timeout(Some(PATIENCE)).ok()?;
        let answers = BufReader::new(commands.try_clone().ok()?);
        Some(Control { commands, answers })
    }

    fn ask(&mut self, command: &str, answer: &str) -> Line {
        writeln!(self.commands, "{command}").expect("the process lives");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        let line = Line::parse(line.trim_end());
        assert_eq!(
            line.word, answer,
            "the answer to \"{command}\" is \"{line}\""
        );
        line
    }

    fn release(&mut self, command: &str) -> WorkRun {
        let ran = self.ask(command, "ran");
        WorkRun {
            count: ran.number("count"),
            left: ran.number("left"),
        }
    }

    /// Runs the `count` oldest held works, or as many as can run, and waits until they are done.
    pub fn run(&mut self, count: u64) -> WorkRun {
        self.release(&format!("run {count}"))
    }

    /// As [`run`](Control::run), for the work of one stream.
    pub fn run_of(&mut self, stream: u64, count: u64) -> WorkRun {
        self.release(&format!("run {count} {stream:#x}"))
    }

    /// Runs held work until none can run.
    pub fn run_all(&mut self) -> WorkRun {
        self.release("run all")
    }

    /// Has all work run at once from now on.
    pub fn open(&mut self) {
        self.ask("open", "open");
    }

    /// Holds work from now on.
    pub fn hold(&mut self) {
        self.ask("hold", "held");
    }

    /// Has the next work that runs fail.
    pub fn fail_next(&mut self, code: u32) {
        self.ask(&format!("fail {code}"), "fails");
    }

    /// Takes the devices of the process away.
    pub fn lose(&mut self, code: u32) {
        self.ask(&format!("lose {code}"), "lost");
    }

    /// How much work is not done: `count`, and a field for each stream.
    pub fn queued(&mut self) -> u64 {
        self.ask("queued", "queued").number("count")
    }

    /// What the process has not given back, by kind.
    pub fn alive(&mut self) -> Line {
        self.ask("alive", "alive")
    }
}
