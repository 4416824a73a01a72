//! The demo's view of a child: a process that reports, takes orders, and never outlives the demo.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

use crate::Result;
use crate::place::Place;
use crate::report::{Order, Report};
use crate::role::Role;

/// What the demo waits for.
#[derive(Debug)]
pub enum Event {
    /// A child has reported.
    Said(Role, Report),
    /// A child has written to its standard error.
    Complained(Role, String),
    /// A child, by its process id, has closed its standard output: it ends.
    Silent(Role, u32),
    /// Whoever has started the demo is gone.
    Interrupted,
}

/// A child of the demo. Dropped, it is killed.
#[derive(Debug)]
pub struct Child {
    role: Role,
    process: std::process::Child,
}

impl Child {
    /// Starts this program once more, to play `role`.
    pub fn start(role: Role, place: &Place, events: &Sender<Event>) -> Result<Child> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(role.name())
            .arg(place.clip())
            .env("XMEM_RUNTIME_DIR", place.runtime())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the {} can't be started: {error}", role.name()))?;
        let pid = process.id();
        if let Some(output) = process.stdout.take() {
            let events = events.clone();
            std::thread::spawn(move || {
                listen(output, |line| hear(role, line, &events));
                let _ = events.send(Event::Silent(role, pid));
            });
        }
        if let Some(errors) = process.stderr.take() {
            let events = events.clone();
            std::thread::spawn(move || {
                listen(errors, |line| {
                    let _ = events.send(Event::Complained(role, line.into()));
                });
            });
        }
        Ok(Child { role, process })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives it an order.
    pub fn order(&mut self, order: &Order) -> Result<()> {
        let input = self.process.stdin.as_mut().ok_or("it takes no orders")?;
        writeln!(input, "{order}").map_err(|error| {
            format!("the {} does not take orders: {error}", self.role.name()).into()
        })
    }

    /// Kills it with `SIGKILL`, at whatever instruction it is.
    ///
    /// # Errors
    /// When it did not die of that.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        let status = self.process.wait()?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => Err(format!("the {} did not die of SIGKILL: {status}", self.role.name()).into()),
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hands over what is said, line by line. Who is killed may leave half a line: that one is not.
fn listen(stream: impl Read, mut hear: impl FnMut(&str)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        if line.pop() == Some(b'\n') {
            hear(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
}

fn hear(role: Role, line: &str, events: &Sender<Event>) {
    let event = match line.parse() {
        Ok(report) => Event::Said(role, report),
        // Some library prints to the standard output: not a report, but not to be lost.
        Err(_) => Event::Complained(role, line.into()),
    };
    let _ = events.send(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_not_heard() {
        let mut heard = Vec::new();
        listen(&b"first\nsecond\nthi"[..], |line| {
            heard.push(line.to_owned())
        });
        assert_eq!(heard, ["first", "second"]);
    }
}
