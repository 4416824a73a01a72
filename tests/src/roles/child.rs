//! A child process: orders go in by its standard input, reports come out of its standard output, line by line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Result;

/// How long a child may take to answer or to end, beyond the frames it waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a child that was told to end may take to stop its pipeline before it exits without.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A running role of this executable. Dropping it ends the process, in peace if that works soon, else by SIGKILL.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    /// Open as long as the child is to run: its end of file tells the child to stop.
    orders: Option<ChildStdin>,
    /// What it printed; disconnected when it is gone.
    reports: Receiver<String>,
}

impl Child {
    /// Starts it, in a process group of its own: an interrupt from the terminal ends the parent, whose closed pipe then
    /// lets the child clean up what it has in shared memory.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(name: impl Into<String>, mut command: Command) -> Result<Child> {
        let name = name.into();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut process = command
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let orders = process.stdin.take();
        let output = process
            .stdout
            .take()
            .ok_or("a child's output is not piped")?;
        let (line, reports) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the child, or when nobody is interested any more.
            BufReader::new(output)
                .lines()
                .map_while(|text| text.ok())
                .try_for_each(|text| line.send(text))
        });
        Ok(Child {
            name,
            process,
            orders,
            reports,
        })
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When it is gone.
    pub fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().ok_or("the child was told to end")?;
        writeln!(orders, "{order}")
            .map_err(|error| format!("{} is gone: {error}", self.name).into())
    }

    /// The next line that it reports.
    ///
    /// # Errors
    /// When there is none in time, or it has ended.
    pub fn line(&self, deadline: Instant) -> std::result::Result<String, RecvTimeoutError> {
        self.reports
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits for the report that starts with `word` and returns the rest of it.
    ///
    /// # Errors
    /// When there is none in time, and at once when it has ended or reports an error.
    pub fn report(&self, word: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let line = match self.line(deadline) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(
                        format!("{} did not report {word:?} within {within:?}", self.name).into(),
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{} ended before it reported {word:?}", self.name).into());
                }
            };
            match line.split_once(' ').unwrap_or((&line, "")) {
                (first, rest) if first == word => return Ok(rest.to_owned()),
                ("error", reason) => return Err(format!("{}: {reason}", self.name).into()),
                _ => {}
            }
        }
    }

    /// Sends a signal, unless it is known to have ended: then its number may be another's.
    pub fn signal(&mut self, signal: Signal) {
        if let (None, Some(pid)) = (self.status(), Pid::from_raw(self.pid() as i32)) {
            // It may have ended in this moment, which no signal can change.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it by SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended in this moment, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// How it has ended; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Tells it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub fn end(mut self) -> Result<()> {
        self.orders = None;
        match self.wait_until_gone(PATIENCE) {
            true => Ok(()),
            false => Err(format!("{} did not end within {PATIENCE:?}", self.name).into()),
        }
    }

    /// Whether its output was closed, which only its exit does, in time.
    fn wait_until_gone(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.line(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.orders = None;
        if !self.wait_until_gone(STOP_LIMIT * 2) {
            self.kill();
        }
        let _ = self.process.wait();
    }
}
