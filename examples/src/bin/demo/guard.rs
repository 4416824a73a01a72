//! Between the person at the terminal and the show.
//!
//! Ctrl-C ends the process that was started by hand, in whatever it does. So this one does
//! nothing but wait: the show runs in a child, in a session of its own that no key reaches. Each
//! process of the demo ends, and puts away what is its own, when its standard input closes; so
//! all of them do when this one ends, be it by `SIGKILL`.

use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::Sender;

use crate::Result;
use crate::child::Event;

/// The argument of the process that runs the show.
pub const SHOW: &str = "show";

/// Whoever has started the demo is gone. There is nobody to tell.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Lets the show run, and passes on how it ends.
pub fn main() -> ExitCode {
    let ended = || -> Result<Option<i32>> {
        let mut show = Command::new(std::env::current_exe()?)
            .arg(SHOW)
            .stdin(Stdio::piped())
            .spawn()?;
        // `wait` would close the child's input first.
        let input = show.stdin.take();
        let status = show.wait()?;
        drop(input);
        Ok(status.code())
    };
    match ended() {
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: the show can't be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// In the show's process: from now on the end of the waiting process is an event.
pub fn watch(events: &Sender<Event>) -> Result<()> {
    rustix::process::setsid()?;
    let events = events.clone();
    std::thread::spawn(move || {
        // Nothing is ever said there, but it ends.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = events.send(Event::Interrupted);
    });
    Ok(())
}
