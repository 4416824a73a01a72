//! Answers, and what stands for one that is missing.

use std::fmt::{self, Display};

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Problem {
    /// The driver, the machine or the kernel has nothing to ask.
    NotHere(String),
    /// Something failed that should not.
    Failed(String),
}

/// An answer, or what stands for it.
pub type Answer<T = String> = Result<T, Problem>;

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotHere(why) => write!(f, "not supported here ({why})"),
            Problem::Failed(why) => write!(f, "no: {why}"),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        Problem::Failed(error.to_string())
    }
}

impl From<rustix::io::Errno> for Problem {
    fn from(error: rustix::io::Errno) -> Problem {
        Problem::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Problem {
        Problem::Failed(error.to_string())
    }
}

/// A failure.
pub fn failed<T>(why: impl Display) -> Answer<T> {
    Err(Problem::Failed(why.to_string()))
}

/// What is answered, or what stands for it, as text.
pub fn attempt<T: Display>(answer: Answer<T>) -> String {
    match answer {
        Ok(answer) => answer.to_string(),
        Err(Problem::NotHere(why) | Problem::Failed(why)) => why,
    }
}

/// A question, whose answers are printed, one line each.
pub struct Question(pub &'static str);

impl Question {
    /// Prints one answer.
    pub fn line(&self, part: &str, answer: Answer<impl Display>) {
        let text = match answer {
            Ok(answer) => answer.to_string(),
            Err(problem) => problem.to_string(),
        };
        println!("{} {part}: {}", self.0, text.replace('\n', " "));
    }
}

/// Whether the driver is the stand-in, whose times say nothing of a GPU's.
pub fn is_stand_in() -> bool {
    std::env::var_os("XMEM_STAND_IN").is_some_and(|value| value == "1")
}

/// A time in ms, for a person.
pub fn milliseconds(ns: u64) -> String {
    if is_stand_in() {
        return "(not timed)".into();
    }
    format!("{:.1} ms", ns as f64 / 1e6)
}

/// Times in ns, for a person.
pub fn spread(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    match times.last() {
        None => "no samples".into(),
        Some(_) if is_stand_in() => "(not timed)".into(),
        Some(longest) => format!(
            "p50 {:.1} p99 {:.1} max {:.1} us of {}",
            xmem_tests::samples::percentile_us(&times, 0.5),
            xmem_tests::samples::percentile_us(&times, 0.99),
            *longest as f64 / 1000.0,
            times.len()
        ),
    }
}
