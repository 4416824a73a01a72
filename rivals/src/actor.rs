//! A producer or a client as the parent sees it: its reports and its figures.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xmem_tests::line::Line;
use xmem_tests::process;
use xmem_tests::roles::{Child, Result};

/// How long the main thread of an actor may take to answer. No element can block that thread.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an actor may take to report anything else. An actor that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// After this long without a frame the stream has stopped. A busy machine alone does not cause
/// that.
pub const STILL: Duration = Duration::from_secs(2);
/// The interval at which a figure is polled while the parent waits for it.
const INTERVAL: Duration = Duration::from_millis(2);

/// A process with its end of the stream. Dropping the value kills the process.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    /// Lines that the process has written and that no call has consumed.
    lines: Vec<Line>,
}

/// What an actor has counted since its figures were reset; times in ms.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Number of frames.
    pub frames: u64,
    /// The number of the newest frame.
    pub number: u64,
    /// Number of frames with a wrong byte, on arrival or later.
    pub damaged: u64,
    /// Number of frame numbers that were skipped.
    pub missed: u64,
    /// The longest time without a frame.
    pub gap: u64,
    /// The time since the newest frame.
    pub age: u64,
}

impl Figures {
    /// Whether no frame has passed for [`STILL`].
    pub fn still(&self) -> bool {
        self.age >= STILL.as_millis() as u64
    }
}

impl Actor {
    /// Wraps a child in one of the two roles.
    pub fn new(child: Child) -> Actor {
        Actor {
            child,
            lines: Vec::new(),
        }
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits for a line that `look` accepts. Lines that were written before the call count too;
    /// each line is found once. Returns `None` if no line arrives in time or the process has ended.
    ///
    /// # Errors
    /// If the actor itself has failed, which is not a failure of the elements.
    pub fn until(
        &mut self,
        within: Duration,
        look: impl Fn(&Line) -> bool,
    ) -> Result<Option<Line>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(at) = self.lines.iter().position(&look) {
                return Ok(Some(self.lines.remove(at)));
            }
            let line = match self.child.line(deadline) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            };
            match line.split_once(' ') {
                Some(("error", reason)) => return Err(reason.into()),
                _ => self.lines.push(Line::parse(&line)),
            }
        }
    }

    /// Like [`until`](Actor::until), for a line with this word.
    pub fn told(&mut self, word: &str, within: Duration) -> Result<Option<Line>> {
        self.until(within, |line| line.word == word)
    }

    /// Sends an order and waits for the answer; `None` if the process has died.
    pub fn ask(&mut self, order: &str, word: &str) -> Result<Option<Line>> {
        if self.child.order(order).is_err() {
            return Ok(None);
        }
        self.told(word, ANSWER)
    }

    /// The figures; `None` if the process has died.
    pub fn figures(&mut self) -> Result<Option<Figures>> {
        let Some(line) = self.ask("figures", "figures")? else {
            return Ok(None);
        };
        Ok(Some(Figures {
            frames: line.number("frames"),
            number: line.number("number"),
            damaged: line.number("torn") + line.number("changed"),
            missed: line.number("missed"),
            gap: line.number("gap"),
            age: line.number("age"),
        }))
    }

    /// Resets the figures.
    pub fn reset(&mut self) -> Result<()> {
        self.ask("reset", "reset").map(drop)
    }

    /// Waits until the figures are as wanted. Returns how long that took, or `None` if it did not
    /// happen in time.
    pub fn reaches(
        &mut self,
        within: Duration,
        wanted: impl Fn(&Figures) -> bool,
    ) -> Result<Option<Duration>> {
        let start = Instant::now();
        while start.elapsed() < within {
            match self.figures()? {
                Some(figures) if wanted(&figures) => return Ok(Some(start.elapsed())),
                Some(_) => std::thread::sleep(INTERVAL),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Stops the process with SIGSTOP, and waits until it has stopped.
    pub fn stop(&mut self) {
        self.child.signal(Signal::STOP);
        let start = Instant::now();
        while process::state(self.pid()) != Some('T') && start.elapsed() < ANSWER {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Continues the process with SIGCONT.
    pub fn resume(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// Kills the process, and waits until it has ended.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// The signal that killed the process, or its exit status; `None` if it is alive.
    pub fn death(&mut self) -> Option<String> {
        // The output closes before the process has ended.
        let start = Instant::now();
        let mut status = self.child.status();
        while status.is_none() && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(INTERVAL);
            status = self.child.status();
        }
        let status = status?;
        Some(match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::BUS) => "SIGBUS".into(),
            Some(Signal::SEGV) => "SIGSEGV".into(),
            Some(Signal::ABORT) => "SIGABRT".into(),
            _ => status.to_string(),
        })
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}
