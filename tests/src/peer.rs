//! Other processes that take part in a test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::line::Line;
use crate::place::Place;
use crate::process;
use crate::wait::{PATIENCE, until};

/// A process that takes orders on its standard input and answers on its standard output.
///
/// Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it has said so far, for the message of a failed test.
    said: Vec<String>,
    name: String,
}

impl Peer {
    /// Starts `program` in `place`, with the words of `arguments`. Integration tests of this crate
    /// know the program's path as `env!("CARGO_BIN_EXE_xmem-test-peer")`.
    pub fn start(program: &str, place: &Place, arguments: &str) -> Peer {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        Peer::spawn(command, place, arguments)
    }

    /// Starts any program in `place`; `name` is for messages.
    pub fn spawn(mut command: Command, place: &Place, name: &str) -> Peer {
        command
            .env("XMEM_RUNTIME_DIR", place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("the peer's program starts");
        let output = process.stdout.take().expect("it is piped");
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
            name: name.into(),
        }
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order. It may be gone by now: then the answer is missing.
    pub fn order(&mut self, order: &str) {
        if let Some(orders) = &mut self.orders {
            let _ = writeln!(orders, "{order}");
        }
    }

    /// The next line that it says.
    ///
    /// # Panics
    /// When it says nothing, or has ended.
    pub fn next_line(&mut self) -> Line {
        let deadline = Instant::now() + PATIENCE;
        self.next_before(deadline)
            .unwrap_or_else(|problem| self.fail(problem))
    }

    /// Waits for a line that starts with `word`, and skips others.
    ///
    /// # Panics
    /// When there is none, and at a line that tells of a failure where another one was wanted.
    pub fn wait_for(&mut self, word: &str) -> Line {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_before(deadline) {
                Ok(line) if line.word == word => return line,
                Ok(line) if line.word == "failed" => {
                    self.fail(&format!("\"{line}\" in place of {word:?}"))
                }
                Ok(_) => {}
                Err(problem) => self.fail(&format!("{problem}, {word:?} was due")),
            }
        }
    }

    /// Gives an order and waits for the answer that starts with `word`.
    ///
    /// # Panics
    /// As [`wait_for`](Peer::wait_for).
    pub fn ask(&mut self, order: &str, word: &str) -> Line {
        self.order(order);
        self.wait_for(word)
    }

    fn next_before(&mut self, deadline: Instant) -> Result<Line, &'static str> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                let parsed = Line::parse(&line);
                self.said.push(line);
                Ok(parsed)
            }
            Err(RecvTimeoutError::Timeout) => Err("it said nothing in time"),
            Err(RecvTimeoutError::Disconnected) => Err("it has ended"),
        }
    }

    fn fail(&self, problem: &str) -> ! {
        let said = self.said.join("\n  ");
        let threads = process::describe(self.pid());
        panic!(
            "peer \"{}\" (pid {}): {problem}; its threads: {threads:#?}; it said:\n  {said}",
            self.name,
            self.pid()
        );
    }

    /// Sends a signal. It has not been waited for, so its number is still its own.
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process's number is not 0");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Stops it as `SIGSTOP` does, and waits until it stands still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until("the peer is stopped", || {
            process::state(self.pid()) == Some('T')
        });
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills it, and leaves its process in the table, as a parent does that never asks.
    pub fn kill_and_leave(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Tells it to end in good order, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or not in good order.
    pub fn end(&mut self) {
        self.order("exit");
        self.orders = None;
        let mut status = None;
        until("the peer ends", || {
            status = self.process.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        if !status.is_some_and(|status| status.success()) {
            self.fail(&format!("it ended with {status:?}"));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
