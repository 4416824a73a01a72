//! Other processes of a test.

use std::io::{BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::line::Line;
use crate::order::{self, Order};
use crate::place::Place;
use crate::wait::{PATIENCE, until};
use crate::{process, program};

/// The number of lines of output in the message of a failed test.
const TOLD: usize = 60;

/// A process that reads orders `O` from its standard input and writes answers to its standard
/// output.
///
/// Dropping the value kills the process.
#[derive(Debug)]
pub struct Peer<O> {
    process: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All output so far, for the message of a failed test.
    said: Vec<String>,
    name: String,
    obeyed: PhantomData<fn(O)>,
}

impl<O: Order> Peer<O> {
    /// The command that runs the program, in its role and with these settings.
    pub fn command(settings: &str) -> Command {
        let mut command = Command::new(program::path(O::PROGRAM));
        command
            .args(O::ROLE.split_whitespace())
            .args(settings.split_whitespace());
        command
    }

    /// Starts the program in `place` with these settings, and waits until it takes orders.
    ///
    /// # Panics
    /// As [`wait_for`](Peer::wait_for).
    pub fn start(place: &Place, settings: &str) -> Peer<O> {
        Peer::start_with(Peer::<O>::command(settings), place)
    }

    /// The command that runs the program as part of another command.
    pub fn within(mut wrapper: Command, settings: &str) -> Command {
        let command = Peer::<O>::command(settings);
        wrapper.arg(command.get_program()).args(command.get_args());
        wrapper
    }

    /// As [`start`](Peer::start), with a command that runs the program.
    ///
    /// # Panics
    /// As [`wait_for`](Peer::wait_for).
    pub fn start_with(command: Command, place: &Place) -> Peer<O> {
        let mut peer = Peer::spawn(command, place);
        peer.wait_for(O::GREETING);
        peer
    }

    /// As [`start`](Peer::start), without waiting.
    pub fn launch(place: &Place, settings: &str) -> Peer<O> {
        Peer::spawn(Peer::<O>::command(settings), place)
    }

    /// As [`start_with`](Peer::start_with), without waiting.
    pub fn spawn(mut command: Command, place: &Place) -> Peer<O> {
        let name = command.get_args().map(|word| word.to_string_lossy());
        let name = name.collect::<Vec<_>>().join(" ");
        command
            .env("XMEM_RUNTIME_DIR", place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("the program of the peer starts");
        let output = process.stdout.take().expect("the output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the process, or with the test.
            BufReader::new(output)
                .lines()
                .map_while(|line| line.ok())
                .try_for_each(|line| sender.send(line))
        });
        Peer {
            orders: process.stdin.take(),
            process,
            lines,
            said: Vec::new(),
            name,
            obeyed: PhantomData,
        }
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends an order. If the process has ended, the answer will be missing.
    pub fn order(&mut self, order: impl Into<O>) {
        self.send(Some(&order.into()));
    }

    fn send(&mut self, order: Option<&O>) {
        if let Some(orders) = &mut self.orders {
            let _ = writeln!(orders, "{}", order::to_line(order));
        }
    }

    /// The next line of output.
    ///
    /// # Panics
    /// If none comes in time, or the process has ended.
    pub fn next_line(&mut self) -> Line {
        let deadline = Instant::now() + PATIENCE;
        self.next_before(deadline)
            .unwrap_or_else(|problem| self.fail(problem))
    }

    /// Waits for a line that starts with `word`, and skips others.
    ///
    /// # Panics
    /// If none comes, or if a line reports a failure and `word` is something else.
    pub fn wait_for(&mut self, word: &str) -> Line {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_before(deadline) {
                Ok(line) if line.word == word => return line,
                Ok(line) if line.word == "failed" => {
                    self.fail(&format!("\"{line}\" instead of {word:?}"))
                }
                Ok(_) => {}
                Err(problem) => self.fail(&format!("{problem}, {word:?} was due")),
            }
        }
    }

    /// Sends an order and waits for its answer.
    ///
    /// # Panics
    /// As [`wait_for`](Peer::wait_for).
    pub fn ask(&mut self, order: impl Into<O>) -> Line {
        let order = order.into();
        self.send(Some(&order));
        self.wait_for(order.answer())
    }

    /// Sends an order that takes long, and waits until the process has begun with it.
    ///
    /// # Panics
    /// As [`wait_for`](Peer::wait_for).
    pub fn begin(&mut self, order: impl Into<O>) {
        self.order(order);
        self.wait_for("begun");
    }

    /// Sends an order and waits for its answer, or for a line that reports a failure.
    ///
    /// # Panics
    /// If neither comes in time.
    pub fn outcome(&mut self, order: impl Into<O>) -> Line {
        let order = order.into();
        self.send(Some(&order));
        loop {
            let line = self.next_line();
            if [order.answer(), "failed"].contains(&line.word.as_str()) {
                return line;
            }
        }
    }

    /// Sends an order, which fails. Returns the line that reports that.
    ///
    /// # Panics
    /// If it does not fail.
    pub fn fail_at(&mut self, order: impl Into<O>) -> Line {
        let outcome = self.outcome(order);
        assert_eq!(outcome.word, "failed", "{outcome}");
        outcome
    }

    fn next_before(&mut self, deadline: Instant) -> Result<Line, &'static str> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                let parsed = Line::parse(&line);
                self.said.push(line);
                Ok(parsed)
            }
            Err(RecvTimeoutError::Timeout) => Err("no output in time"),
            Err(RecvTimeoutError::Disconnected) => Err("the process has ended"),
        }
    }

    /// Fails the test, with what is known of the process.
    ///
    /// # Panics
    /// Always.
    pub fn fail(&self, problem: &str) -> ! {
        // The end tells what went wrong, and a reader of logs may get no more than a part.
        let left_out = self.said.len().saturating_sub(TOLD);
        let (first, last) = self.said.split_at(left_out);
        let is_problem =
            |line: &&String| line.contains(" type=error") || line.contains(" type=warning");
        let problems = first.iter().filter(is_problem).cloned();
        let said = problems
            .chain(last.iter().cloned())
            .collect::<Vec<_>>()
            .join("\n  ");
        let threads = process::describe(self.pid());
        panic!(
            "peer \"{}\" (pid {}): {problem}; its threads: {threads:#?}; its errors and warnings, and \
             its output without {left_out} lines at the beginning:\n  {said}",
            self.name,
            self.pid()
        );
    }

    /// Sends a signal. The process was not waited for, so its ID is not reused.
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process ID is not 0");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Stops the process with `SIGSTOP`, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until("the peer is stopped", || {
            process::state(self.pid()) == Some('T')
        });
    }

    /// Continues the process with `SIGCONT`.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process, and waits until it has ended.
    pub fn kill(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills the process without waiting for it, so that it becomes a zombie.
    pub fn kill_and_leave(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Closes the input of the process, and waits until it has ended without an error.
    ///
    /// # Panics
    /// If it does not end in time, or ends with an error.
    pub fn end(&mut self) {
        self.send(None);
        self.orders = None;
        let mut status = None;
        until("the peer ends", || {
            status = self.process.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        if !status.is_some_and(|status| status.success()) {
            self.fail(&format!("the process ended with {status:?}"));
        }
    }
}

impl<O> Drop for Peer<O> {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
