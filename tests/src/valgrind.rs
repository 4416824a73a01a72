//! Processes that valgrind watches, and what it says of them when they have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::Place;
use crate::wait::until_some;

/// Where valgrind writes what it finds.
#[derive(Debug)]
pub struct Log(PathBuf);

impl Log {
    /// A log in `place`; `name` is its own there.
    pub fn new(place: &Place, name: &str) -> Log {
        Log(place.path().join(format!("{name}.valgrind")))
    }

    /// The same command, watched.
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

    /// Waits for the verdict; the process ends meanwhile.
    pub fn verdict(&self) -> Verdict {
        let verdict = || Verdict::read(&self.0);
        until_some("valgrind has its verdict", verdict)
    }
}

/// What valgrind has found.
#[derive(Debug)]
pub struct Verdict {
    /// Memory lost, or used wrongly, and where.
    pub errors: Vec<String>,
    /// Descriptors that the process has opened and not closed, and where.
    pub descriptors: Vec<String>,
    /// Blocks of memory that were there at the end, lost or not.
    pub blocks: u64,
    /// All that valgrind says, for a failure's text.
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
        // Each line begins with the process's number, and empty ones divide paragraphs.
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

/// What valgrind says all the same.
fn is_no_error(paragraph: &str) -> bool {
    let says = |words: [&str; 2]| words.iter().all(|words| paragraph.contains(words));
    // What may be lost are the standard library's and GLib's tables.
    paragraph.contains("are possibly lost")
        // From 3.24 on. But it does not see the pidfds that `SO_PEERPIDFD` opens: it takes each for
        // the descriptor that had its number before.
        || says(["File descriptor ", " is already closed"])
        // It wants a time also where a wait has no end.
        || says(["sys_futex_waitv(timeout)", "Address 0x0 "])
}
