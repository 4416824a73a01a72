//! Processes under valgrind, and its report after they have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::Place;
use crate::wait::until_some;

/// The file to which valgrind writes its report.
#[derive(Debug)]
pub struct Log(PathBuf);

impl Log {
    /// A log in `place` with the name `name`.
    pub fn new(place: &Place, name: &str) -> Log {
        Log(place.path().join(format!("{name}.valgrind")))
    }

    /// The command that runs `command` under valgrind.
    pub fn watch(&self, command: Command) -> Command {
        let mut watched = Command::new("valgrind");
        watched
            .arg(format!("--log-file={}", self.0.display()))
            .args(["--leak-check=full", "--num-callers=40", "--track-fds=yes"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => watched.env(name, value),
                None => watched.env_remove(name),
            };
        }
        watched
    }

    /// Waits for the report; the process ends meanwhile.
    pub fn verdict(&self) -> Verdict {
        let verdict = || Verdict::read(&self.0);
        until_some("the report of valgrind is complete", verdict)
    }
}

/// The report of valgrind.
#[derive(Debug)]
pub struct Verdict {
    /// Memory that was lost or used wrongly, with the places in the source.
    pub errors: Vec<String>,
    /// Descriptors that the process has opened and not closed, with the places in the source.
    pub descriptors: Vec<String>,
    /// Number of blocks of memory that existed at the end, lost or not.
    pub blocks: u64,
    /// The whole output of valgrind, for the message of a failed test.
    pub log: String,
}

impl Verdict {
    /// `None` while the log is not complete.
    fn read(log: &Path) -> Option<Verdict> {
        let log = fs::read_to_string(log).ok()?;
        let (log, _) = log.split_once("ERROR SUMMARY")?;
        let mut verdict = Verdict {
            errors: Vec::new(),
            descriptors: Vec::new(),
            blocks: 0,
            log: log.to_owned(),
        };
        // Each line begins with the process ID, and empty lines separate paragraphs.
        let text = |line: &str| line.split_once("== ").map(|(_, text)| text.to_owned());
        let lines: Vec<String> = log.lines().filter_map(text).collect();
        for paragraph in lines.split(|line| line.is_empty()) {
            let paragraph = paragraph.join("\n");
            if let Some((_, figures)) = paragraph.split_once("in use at exit: ") {
                let blocks = figures.split(" in ").nth(1)?.split(' ').next()?;
                verdict.blocks = blocks.replace(',', "").parse().ok()?;
            } else if paragraph.starts_with("Open ") {
                if !paragraph.contains("<inherited from parent>") {
                    verdict.descriptors.push(paragraph);
                }
            } else if paragraph.contains("   at 0x") && !is_no_error(&paragraph) {
                verdict.errors.push(paragraph);
            }
        }
        Some(verdict)
    }
}

/// Reports of valgrind that are not errors.
fn is_no_error(paragraph: &str) -> bool {
    let says = |words: [&str; 2]| words.iter().all(|words| paragraph.contains(words));
    // Tables of the standard library and of GLib may look lost.
    paragraph.contains("are possibly lost")
        // Valgrind 3.24 and later report this. But it does not see the pidfds that `SO_PEERPIDFD`
        // opens: it takes each for the descriptor that had its number before.
        || says(["File descriptor ", " is already closed"])
        // Valgrind expects a timeout even for a wait without one.
        || says(["sys_futex_waitv(timeout)", "Address 0x0 "])
}
