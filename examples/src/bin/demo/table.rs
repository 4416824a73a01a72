//! The table: who has how many frames, how fast, how late, and at what cost.

use crate::parent;
use crate::role::Role;
use crate::stage::Stage;

/// What the table's columns mean.
pub const LEGEND: &str = "\
p50, p99  latency: from a frame's arrival in xmemsink to its arrival in the client,
          on CLOCK_MONOTONIC; without the frame that a client finds when it joins
copies    frames whose bytes were not read where the decoder had written them
missed    frames that did not come while the client was there
equal     frames with the same 64-bit hash of all pixels as in the producer
";

const HEAD: &str = "           frames   fps  p50 ms  p99 ms copies missed  equal";

/// How the rate is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Over the last second.
    Now,
    /// Over all the time that the process was there.
    Mean,
}

/// The whole table.
pub fn table(stage: &Stage, rate: Rate) -> Vec<String> {
    let clients = stage
        .ledger
        .accounts()
        .map(|(role, _)| client(stage, role, rate));
    [stage.screen.bold(HEAD), producer(stage, rate)]
        .into_iter()
        .chain(clients)
        .collect()
}

/// The gist of the table, in one line.
pub fn summary(stage: &Stage) -> String {
    let clients: Vec<_> = stage
        .ledger
        .accounts()
        .map(|(role, account)| format!("{} {}", role.name(), account.received))
        .collect();
    format!(
        "frames: producer {}, {}; {} compared equal",
        stage.ledger.published(),
        clients.join(", "),
        stage.ledger.equal(),
    )
}

fn producer(stage: &Stage, rate: Rate) -> String {
    let pace = &stage.ledger.pace;
    let fps = match rate {
        Rate::Now => pace.in_last_second(parent::now()),
        Rate::Mean => pace.mean(),
    };
    format!(
        "{:<9} {:>7} {fps:>5.1} {:>7} {:>7} {:>6} {:>6} {:>6}  {}",
        Role::Producer.name(),
        stage.ledger.published(),
        "",
        "",
        stage.figures.copied,
        "",
        "",
        memory(stage),
    )
}

fn client(stage: &Stage, role: Role, rate: Rate) -> String {
    let account = stage.ledger.account(role);
    let fps = match rate {
        Rate::Now => account.pace.in_last_second(parent::now()),
        Rate::Mean => account.pace.mean(),
    };
    format!(
        "{:<9} {:>7} {fps:>5.1} {:>7} {:>7} {:>6} {:>6} {:>6}  {}",
        role.name(),
        account.received,
        milliseconds(account.latency(0.50)),
        milliseconds(account.latency(0.99)),
        account.copied,
        account.missed,
        account.equal,
        stage.remark(role),
    )
}

fn memory(stage: &Stage) -> String {
    match stage.figures.slots {
        0 => String::new(),
        slots => format!("{slots} slots, {} MB", stage.figures.memory / 1_000_000),
    }
}

fn milliseconds(time: Option<u64>) -> String {
    time.map_or(String::new(), |time| format!("{:.3}", time as f64 / 1e6))
}
