//! A producer or a client, seen from the parent: what it has said, and its figures.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xmem_tests::line::Line;
use xmem_tests::process;
use xmem_tests::roles::{Child, Result};

/// How long an actor's main thread may take to answer, which no element can hold up.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to tell of something else. One that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// After so long without a frame the stream stands still. A busy machine alone does not do that.
pub const STILL: Duration = Duration::from_secs(2);
/// How often a figure is asked for that is waited for.
const INTERVAL: Duration = Duration::from_millis(2);

/// A process with its end of the stream. Dropped, it is killed.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    /// What it has said and nobody has waited for.
    lines: Vec<Line>,
}

/// What has passed an actor since its figures were reset; times in ms.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Frames.
    pub frames: u64,
    /// The number of the latest frame of all.
    pub number: u64,
    /// Frames with a wrong byte, on arrival or later.
    pub damaged: u64,
    /// Numbers left out.
    pub missed: u64,
    /// The longest time without a frame.
    pub gap: u64,
    /// Since the latest frame.
    pub age: u64,
}

impl Figures {
    /// Whether no frame has passed for so long that the stream stands still.
    pub fn still(&self) -> bool {
        self.age >= STILL.as_millis() as u64
    }
}

impl Actor {
    /// Over a child in one of the two roles.
    pub fn new(child: Child) -> Actor {
        Actor {
            child,
            lines: Vec::new(),
        }
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits for a line that `look` wants; one it has said already will do, and each is found once. `None` when
    /// there is none in time, or it has ended.
    ///
    /// # Errors
    /// When the actor itself has failed, which is not the elements' fault.
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

    /// As [`until`](Actor::until), for a line by its word.
    pub fn told(&mut self, word: &str, within: Duration) -> Result<Option<Line>> {
        self.until(within, |line| line.word == word)
    }

    /// Gives an order and waits for the answer; `None` when it has died.
    pub fn ask(&mut self, order: &str, word: &str) -> Result<Option<Line>> {
        if self.child.order(order).is_err() {
            return Ok(None);
        }
        self.told(word, ANSWER)
    }

    /// What has passed; `None` when it has died.
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

    /// Forgets what has passed.
    pub fn reset(&mut self) -> Result<()> {
        self.ask("reset", "reset").map(drop)
    }

    /// Waits until its figures are as wanted; how long that took, `None` when they never are.
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

    /// Stops it as SIGSTOP does, and waits until it stands still.
    pub fn stop(&mut self) {
        self.child.signal(Signal::STOP);
        let start = Instant::now();
        while process::state(self.pid()) != Some('T') && start.elapsed() < ANSWER {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// The signal it has died of, or what it left with; `None` when it lives.
    pub fn death(&mut self) -> Option<String> {
        // Its output closes before it is gone.
        let start = Instant::now();
        let mut status = self.child.status();
        while status.is_none() && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(INTERVAL);
            status = self.child.status();
        }
        let status = status?;
        Some(match status.signal() {
            Some(libc::SIGBUS) => "SIGBUS".into(),
            Some(libc::SIGSEGV) => "SIGSEGV".into(),
            Some(libc::SIGABRT) => "SIGABRT".into(),
            _ => status.to_string(),
        })
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}
