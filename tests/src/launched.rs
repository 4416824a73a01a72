//! Pipelines as people start them: by `gst-launch-1.0`.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pipeline::{PROMPT, set_environment};
use crate::place::Place;
use crate::wait::until;
use crate::{process, wait};

/// A pipeline that `gst-launch-1.0` runs, with the same plugin as a [`Pipeline`](crate::pipeline::Pipeline).
/// Dropping it kills it.
#[derive(Debug)]
pub struct Launched {
    process: Child,
    output: Option<JoinHandle<String>>,
    description: String,
}

impl Launched {
    /// Starts it.
    pub fn start(place: &Place, description: &str) -> Launched {
        let mut command = Command::new("gst-launch-1.0");
        set_environment(&mut command);
        command
            .args(description.split_whitespace())
            .env("XMEM_RUNTIME_DIR", place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("gst-launch-1.0 starts");
        let (mut output, mut errors) = (
            process.stdout.take().expect("it is piped"),
            process.stderr.take().expect("it is piped"),
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

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process's number is not 0");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Stops it as `SIGSTOP` does, and waits until it stands still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until("it is stopped", || process::state(self.pid()) == Some('T'));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Presses Ctrl-C, and waits for the end.
    ///
    /// # Panics
    /// When that takes long, and when it dies of it.
    pub fn interrupt(&mut self) -> Duration {
        until("it has started", || catches_interrupts(self.pid()));
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

    /// Waits for the end, and tells what it has said.
    ///
    /// # Panics
    /// When there is none.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut status = None;
        let ended = wait::comes_true(|| {
            status = self.process.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(ended, "\"{}\" does not end", self.description);
        let output = self.output.take().map(JoinHandle::join);
        let output = output.and_then(Result::ok).unwrap_or_default();
        (status.expect("it has ended"), output)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process sees to `SIGINT` itself. Some time after its start `gst-launch-1.0` does.
fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 << (Signal::INT.as_raw() - 1) != 0)
}
