//! Compares `xmemsink`/`xmemsrc` with GStreamer's `shmsink`/`shmsrc` and `unixfdsink`/`unixfdsrc`:
//! what each does in case of a failure. All of them are treated alike, in one run.
//!
//! ```text
//! make compare                                       about five minutes
//! make compare RIVALS=--quick                        20 kills instead of 100
//! make compare RIVALS="--transports xmem,shm --only SIGSTOP"
//! ```
//!
//! Elements that are not installed are left out, and the bench prints what they need.
//!
//! One process produces 640x480 RGB at 60 frames per second, and others receive it. The elements
//! have their default settings unless the table names others. The producer writes each frame
//! completely, in the memory that the sink proposes: the frame number, the producer, and a value in
//! each other word that follows from these two. A client checks every byte of a frame on arrival.
//! It keeps the frame and checks it again when the next one has arrived. So the bench distinguishes
//! frames that are torn, changed under the client, missed or repeated.
//!
//! | experiment | definition |
//! |---|---|
//! | nothing | two clients, four seconds: what this machine does undisturbed, for comparison |
//! | a client is stopped | one of two, with SIGSTOP, until the producer has stopped for two seconds, or for eight; then SIGCONT |
//! | clients are killed | one after the other as soon as it has received a frame, four at once, beside one that stays |
//! | the producer is killed | while a client receives; then the next one starts at the same path, with nothing removed, and a client of its own |
//! | the producer is killed and started again | five times under one client, which is set to reconnect if it can; the stale socket is removed, as a user might do, and the sink has `sync=false`. Measured from the first frame at the sink of the new producer to the first frame of the client |
//! | a client is started first | two seconds, then a producer starts |
//! | a producer is started first | three seconds, then a client starts |
//! | a client writes | for each frame of two seconds; `tests/src/attacks.rs` lists the attempts. A client of xmem closes its descriptors, so this one connects once more and keeps them |
//! | strangers | connections to the control socket; they stay for eight seconds, or until the producer has stopped for two |
//!
//! *Blocked* is a producer whose sink has accepted no frame for two seconds. *Missed* are numbers
//! that were skipped. A *gap* is the longest time between two frames, including the open gap at the
//! end. *Own* memory is resident and anonymous. *Shared* is the shared memory of which the producer
//! has a descriptor. *Not whole* is a frame with a wrong byte.
//!
//! All waits have deadlines: an element that hangs is a result. The bench fails if a guarantee of
//! xmem does not hold. The experiment "nothing" shows what a busy machine does to the figures.
//!
//! The executable starts itself again for each producer and client, with the role as its first
//! argument. The parent writes orders to the standard input of the children and reads their reports
//! from their standard output. A child answers regardless of the state of its pipeline, and ends by
//! itself if its parent has ended.

mod actor;
mod attacker;
mod client;
mod clients;
mod frame;
mod memory;
mod part;
mod plan;
mod producer;
mod producers;
mod sheet;
mod stage;
mod starts;
mod strangers;
mod transport;
mod watch;
mod writes;

use std::process::ExitCode;

use plan::Plan;
use sheet::Sheet;
use stage::Stage;
use transport::Transport;
use xmem_tests::roles::parent::tell_error;
use xmem_tests::roles::{self, Installation, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = |role: Result<()>| role.inspect_err(|error| tell_error(error));
    let outcome = match words.as_slice() {
        ["probe", elements @ ..] => child(roles::probe(elements)),
        ["producer", sink] => child(producer::main(sink)),
        ["client", source, xmem] => child(client::main(source, xmem)),
        options => Plan::parse(options)
            .and_then(|plan| compare(&plan))
            .inspect_err(|error| eprintln!("error: {error}")),
    };
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the experiments of the plan and prints the table. Returns an error at the end if an
/// experiment failed or a guarantee does not hold.
fn compare(plan: &Plan) -> Result<()> {
    let elements: Vec<&str> = Transport::ALL
        .iter()
        .flat_map(|transport| transport.elements())
        .collect();
    let installation = Installation::discover("xmem-rivals-", &elements)?;
    print!("{installation}");
    let mut transports = Vec::new();
    for &transport in &plan.transports {
        match installation.plugin_of(&transport.elements()) {
            Ok(file) => {
                println!("{transport:11} {file}");
                transports.push(transport);
            }
            Err(element) => println!(
                "{transport:11} NOT COMPARED: no element {element} ({})",
                transport.needs()
            ),
        }
    }

    let mut sheet = Sheet::default();
    let mut failures = 0;
    for experiment in plan.experiments() {
        for &transport in &transports {
            let mut stage = Stage::new(&installation, transport)?;
            sheet.begin(experiment.title(), &stage.socket());
            let outcome = experiment.run(&mut stage, &mut sheet);
            if let Err(error) = outcome {
                failures += 1;
                sheet.add("", transport, format!("FAILED: {error}"));
            }
        }
    }
    print!("\n{}", sheet.table(&transports));
    match (failures, sheet.broken()) {
        (0, []) => Ok(()),
        (0, broken) => {
            Err(format!("guarantees of xmem that do not hold: {}", broken.join("; ")).into())
        }
        (failures, _) => Err(format!("{failures} experiments failed, see above").into()),
    }
}
