//! Pipelines as people start them, with `gst-launch-1.0`.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pipeline::{PROMPT, set_environment};
use crate::place::Place;
use crate::wait::until;
use crate::{process, wait};

/// A pipeline that `gst-launch-1.0` runs, with the same plugin as a
/// [`Pipeline`](crate::pipeline::Pipeline). Dropping the value kills the process.
#[derive(Debug)]
pub struct Launched {
    process: Child,
    output: Option<JoinHandle<String>>,
    description: String,
}

impl Launched {
    /// Starts the pipeline.
    pub fn start(place: &Place, description: &str) -> Launched {
        Launched::start_as(place, description, |_| {})
    }

    /// As [`start`](Launched::start), with a command that `prepare` has changed.
    pub fn start_as(
        place: &Place,
        description: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Launched {
        let mut command = Command::new("gst-launch-1.0");
        set_environment(&mut command);
        prepare(&mut command);
        command
            .args(description.split_whitespace())
            .env("XMEM_RUNTIME_DIR", place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("gst-launch-1.0 starts");
        let (mut output, mut errors) = (
            process.stdout.take().expect("the output is piped"),
            process.stderr.take().expect("the output is piped"),
        );
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            text + &errors.join().unwrap_or_default()
        });
        Launched {
            process,
            output: Some(output),
            description: description.to_owned(),
        }
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process ID is not 0");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Stops the process with `SIGSTOP`, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until("the process is stopped", || {
            process::state(self.pid()) == Some('T')
        });
    }

    /// Continues the process with `SIGCONT`.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends `SIGINT`, as Ctrl-C does, and waits for the end of the process. Returns how long that
    /// took.
    ///
    /// # Panics
    /// If that takes long, or if the process dies of the signal.
    pub fn interrupt(&mut self) -> Duration {
        until("the process handles SIGINT", || {
            catches_interrupts(self.pid())
        });
        let start = Instant::now();
        self.signal(Signal::INT);
        let (status, output) = self.wait();
        let time = start.elapsed();
        assert!(
            time < PROMPT && status.code().is_some(),
            "\"{}\" took {time:?} to end with {status}: {output}",
            self.description
        );
        time
    }

    /// Waits for the end of the process. Returns its status and its output.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut status = None;
        let ended = wait::comes_true(|| {
            status = self.process.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(ended, "\"{}\" does not end", self.description);
        let output = self.output.take().map(JoinHandle::join);
        let output = output.and_then(Result::ok).unwrap_or_default();
        (status.expect("the process has ended"), output)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process handles `SIGINT` itself. `gst-launch-1.0` does some time after its start.
fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 << (Signal::INT.as_raw() - 1) != 0)
}
