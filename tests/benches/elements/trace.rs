//! System calls per frame: a run under strace, of which only the calls inside the windows are
//! counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use xmem_tests::roles::Bill;

use crate::Result;
use crate::environment::Environment;
use crate::figures::{Figures, Row, mean};
use crate::run::{self, Setting, client_name};

/// Runs the setting with each process under strace, adds the calls per frame to the figures, and
/// names them.
///
/// The whole trace is kept instead of strace's own summary, because the summary also counts the
/// start and the end.
pub fn run(
    setting: &Setting,
    warmup: u64,
    frames: u64,
    environment: &Environment,
    figures: &mut Figures,
) -> Result<String> {
    let file = |name: &str| -> PathBuf {
        environment
            .directory()
            .join(name.replace(' ', "-") + ".strace")
    };
    let outcome = run::run_as(setting, warmup, frames, environment, |name, command| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(file(name)).arg("--");
        strace.arg(command.get_program()).args(command.get_args());
        strace.envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        strace
    })?;
    let calls_of = |name: &str, bill: &Bill| -> Result<Calls> {
        Ok(Calls::in_window(&fs::read_to_string(file(name))?)?.a_frame(bill.frames))
    };

    let mut add = |row, value| figures.add(setting.column(), setting.clients, row, value);
    let producer = calls_of("the producer", &outcome.producer)?;
    add(Row::ProducerCalls, producer.sum());
    let mut summary = format!("producer {producer}");
    let clients = (1..)
        .zip(&outcome.clients)
        .map(|(number, bill)| calls_of(&client_name(number), bill))
        .collect::<Result<Vec<Calls>>>()?;
    if let Some(client) = clients.first() {
        add(Row::ClientCalls, mean(clients.iter().map(Calls::sum)));
        summary += &format!("; client {client}");
    }
    Ok(summary)
}

/// How many times each system call was made.
#[derive(Debug, PartialEq)]
struct Calls(BTreeMap<String, f64>);

impl Calls {
    /// Counts the calls between the two marks that [`xmem_tests::roles::Usage::now`] leaves.
    fn in_window(trace: &str) -> Result<Calls> {
        let mut marks = 0;
        let mut calls = BTreeMap::new();
        for name in trace.lines().filter_map(entered) {
            match (name, marks) {
                ("getrusage", _) => marks += 1,
                (name, 1) => *calls.entry(name.to_owned()).or_default() += 1.0,
                _ => {}
            }
        }
        match marks {
            2 => Ok(Calls(calls)),
            marks => Err(format!("{marks} marks in a trace that should have two").into()),
        }
    }

    fn a_frame(self, frames: u64) -> Calls {
        Calls(
            self.0
                .into_iter()
                .map(|(name, count)| (name, count / frames as f64))
                .collect(),
        )
    }

    fn sum(&self) -> f64 {
        self.0.values().sum()
    }
}

/// The important calls, the most frequent first: `sendmsg 1.00, ppoll 1.00`.
impl std::fmt::Display for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut calls: Vec<_> = self
            .0
            .iter()
            .filter(|(_, count)| **count >= 0.005)
            .collect();
        calls.sort_by(|a, b| b.1.total_cmp(a.1));
        let calls: Vec<_> = calls
            .iter()
            .map(|(name, count)| format!("{name} {count:.2}"))
            .collect();
        f.write_str(if calls.is_empty() { "none" } else { "" })?;
        f.write_str(&calls.join(", "))
    }
}

/// The name of the system call that a line of the trace says was entered; `None` for
/// `<... resumed>`, signals and exits.
fn entered(line: &str) -> Option<&str> {
    let (_thread, what) = line.trim_start().split_once(' ')?;
    let (name, _) = what.trim_start().split_once('(')?;
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        .then_some(name)
}
