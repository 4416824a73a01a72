//! What the person at the terminal sees: events, one below the other, and a table below them that
//! is renewed in place. Where there is no terminal, there are plain lines alone.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// The terminal, or what stands in for it.
#[derive(Debug)]
pub struct Screen {
    started_at: Instant,
    is_terminal: bool,
    has_colours: bool,
    /// The table as it stands on the terminal.
    table: Vec<String>,
}

impl Screen {
    /// The standard output.
    pub fn new() -> Screen {
        let is_terminal =
            stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Screen {
            started_at: Instant::now(),
            is_terminal,
            has_colours: is_terminal && std::env::var_os("NO_COLOR").is_none(),
            table: Vec::new(),
        }
    }

    /// Whether the table is renewed in place.
    pub fn is_live(&self) -> bool {
        self.is_terminal
    }

    /// How long the demo has run.
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Something has happened.
    pub fn event(&mut self, who: &str, what: &str) {
        let line = self.stamped(who, what);
        self.line(&line);
    }

    /// How far something has come: where the table will be, or a line where there is no terminal.
    pub fn progress(&mut self, who: &str, what: &str) {
        let line = self.stamped(who, what);
        match self.is_terminal {
            true => self.renew(vec![line]),
            false => self.line(&line),
        }
    }

    fn stamped(&self, who: &str, what: &str) -> String {
        let seconds = self.elapsed().as_secs_f64();
        format!("{seconds:5.1} s  {who:<9} {what}")
    }

    /// A line, above the table.
    pub fn line(&mut self, text: &str) {
        let table = std::mem::take(&mut self.table);
        put(&format!("{}{text}\n", erase(table.len())));
        self.renew(table);
    }

    /// Shows the table, in place of the last one. Without a terminal it shows none.
    pub fn renew(&mut self, table: Vec<String>) {
        if self.is_terminal && !table.is_empty() {
            // A line that wrapped would be two lines to go up.
            let text = table.join("\n");
            put(&format!(
                "{}\x1b[?7l{text}\x1b[?7h\n",
                erase(self.table.len())
            ));
            self.table = table;
        }
    }

    /// Takes the table, or what stands in its place, away.
    pub fn clear(&mut self) {
        put(&erase(self.table.len()));
        self.table.clear();
    }

    /// Shows the table for the last time: it stays.
    pub fn settle(&mut self, table: Vec<String>) {
        put(&format!(
            "{}\n{}\n\n",
            erase(self.table.len()),
            table.join("\n")
        ));
        self.table.clear();
    }

    /// The text in bold.
    pub fn bold(&self, text: &str) -> String {
        self.coloured("1", text)
    }

    /// The word for a check that has passed, or has not.
    pub fn mark(&self, passed: bool) -> String {
        match passed {
            true => self.coloured("32", "ok    "),
            false => self.coloured("1;31", "FAILED"),
        }
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        match self.has_colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.into(),
        }
    }
}

/// Goes up so many lines and erases them.
fn erase(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\x1b[{lines}F\x1b[J"),
    }
}

fn put(text: &str) {
    let mut output = stdout().lock();
    // Nobody looks any more? The exit code still tells.
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}
