//! A child process: it reads orders from its standard input and writes reports to its standard
//! output, line by line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Result;

/// How long a child may take to answer or to end, beyond the time of the frames it waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a child that was told to end may take to stop its pipeline before it exits without
/// that.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A running role of this executable. Dropping the value ends the process: in good order if that
/// works soon, otherwise with SIGKILL.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    /// Open as long as the child should run: the end of file tells the child to stop.
    orders: Option<ChildStdin>,
    /// The lines that it printed; disconnected when the process has ended.
    reports: Receiver<String>,
}

impl Child {
    /// Starts the child in a process group of its own. An interrupt from the terminal then ends
    /// only the parent, whose closed pipe lets the child remove what it has in shared memory.
    ///
    /// # Errors
    /// If it cannot be started.
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
            .ok_or("the output of a child is not piped")?;
        let (line, reports) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the child, or when the receiver is dropped.
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

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends an order.
    ///
    /// # Errors
    /// If the child has ended.
    pub fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().ok_or("the child was told to end")?;
        writeln!(orders, "{order}")
            .map_err(|error| format!("{} has ended: {error}", self.name).into())
    }

    /// The next line that it reports.
    ///
    /// # Errors
    /// If none comes in time, or the child has ended.
    pub fn line(&self, deadline: Instant) -> std::result::Result<String, RecvTimeoutError> {
        self.reports
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits for the report that starts with `word` and returns the rest of it.
    ///
    /// # Errors
    /// If none comes in time; at once if the child has ended or reports an error.
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

    /// Sends a signal, unless the process is known to have ended: its ID may be reused then.
    pub fn signal(&mut self, signal: Signal) {
        if let (None, Some(pid)) = (self.status(), Pid::from_raw(self.pid() as i32)) {
            // The process may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the process with SIGKILL and waits until it has ended.
    pub fn kill(&mut self) {
        // The process may have ended just now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The exit status; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Tells the child to end and waits until it has.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn end(mut self) -> Result<()> {
        self.orders = None;
        if self.wait_until_gone(PATIENCE) {
            Ok(())
        } else {
            Err(format!("{} did not end within {PATIENCE:?}", self.name).into())
        }
    }

    /// Waits until the output of the child is closed, which only its exit does. Returns false if
    /// that does not happen in time.
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
