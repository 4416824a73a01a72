//! `xmemsink`/`xmemsrc` beside GStreamer's `shmsink`/`shmsrc` and `unixfdsink`/`unixfdsrc`: what each does when
//! something goes wrong. The same is done to all of them, in one run.
//!
//! ```text
//! cargo bench -p xmem-tests --bench rivals                        about five minutes
//! cargo bench -p xmem-tests --bench rivals -- --quick             20 kills instead of 100
//! cargo bench -p xmem-tests --bench rivals -- --transports xmem,shm --only SIGSTOP
//! ```
//!
//! What is not installed is left out, with a word on what it needs.
//!
//! One process produces 640x480 RGB at 60 frames a second, others receive it, with the elements' own settings unless
//! the table names others. Each frame is written whole by the producer, in the memory that the sink proposes: its
//! number, its producer, and a value in each other word that follows from those. A client checks every byte of a frame
//! when it arrives and, having kept it, once more when the next one has arrived. So frames that are torn, changed
//! under the client, missed or repeated are told apart.
//!
//! | what is done | definition |
//! |---|---|
//! | nothing | two clients, four seconds: what this machine does by itself, and what the rest is to be compared with |
//! | a client is stopped | one of two, by SIGSTOP, until the producer has stood still for two seconds, or for eight; then SIGCONT |
//! | clients are killed | one after the other as soon as it has received a frame, four at once, beside one that stays |
//! | the producer is killed | under a client; then the next starts at the same path, nothing removed, and a client of its own |
//! | the producer is killed and started again | five times under one client, which is set to come back if it can be; the stale socket is removed, as a user might do, and the sink has `sync=false`. From the new producer's first frame at its sink to the client's |
//! | a client is started first | two seconds, then a producer starts |
//! | a producer is started first | three seconds, then a client starts |
//! | a client writes | for each frame of two seconds: what is tried is in `tests/src/attacks.rs`. A client of xmem closes its descriptors, so that this one connects once more and keeps them |
//! | strangers | connections to the control socket; they stay for eight seconds, or until the producer has stood still for two |
//!
//! *Blocked* is a producer whose sink has taken no frame for two seconds; *missed* are numbers that were left out; a
//! *gap* is the longest time between two frames, the last one open. *Own* memory is resident and anonymous, *shared* is
//! what lies in shared memory that the producer has a descriptor of. *Not whole* is a frame with a wrong byte.
//!
//! All waits have deadlines: an element that hangs is a finding. The bench fails if something that xmem promises does
//! not hold. What a busy machine does to the figures shows where nothing is done.
//!
//! The executable starts itself again for each producer and client, with the role as its first argument. The parent
//! orders the steps over the children's standard input and reads what they report from their standard output; a child
//! answers whatever its pipeline does, and one whose parent is gone ends by itself.

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

/// Does all that the plan names and prints the table; fails at the end if a part of it failed, or a promise is broken.
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
                "{transport:11} NOT COMPARED: there is no element {element} ({})",
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
        (0, broken) => Err(format!("xmem broke promises: {}", broken.join("; ")).into()),
        (failures, _) => Err(format!("{failures} experiments failed, see above").into()),
    }
}
