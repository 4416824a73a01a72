//! `xmemsink`/`xmemsrc` beside GStreamer's `shmsink`/`shmsrc`, measured in one run.
//!
//! ```text
//! cargo bench -p xmem-tests --bench elements                        about two minutes
//! cargo bench -p xmem-tests --bench elements -- --quick             a first look, some thirty seconds
//! cargo bench -p xmem-tests --bench elements -- --kinds xmem --clients 1,4,8
//! cargo bench -p xmem-tests --bench elements -- --joins             a client's first second: see `joins.rs`
//! ```
//!
//! One process produces 1920x1080 RGB at 60 frames a second, N processes receive it. Each frame is written whole by
//! `videotestsrc`, straight into the memory that the sink proposes, and read whole by every client. The kinds take
//! turns in short runs, so that a disturbance of the machine meets both; a figure is the median of its rounds.
//!
//! | figure | definition |
//! |---|---|
//! | latency | from the stamp in the frame, set on the sink's sink pad when the frame is written, to the clock read that comes first when the buffer arrives on the source's src pad; µs, over the frames of all clients |
//! | CPU a frame | user and system time of the whole process (`getrusage`) by the frames it sent or received; µs; for clients the mean of them |
//! | page faults a frame | minor and major (`getrusage`), likewise |
//! | system calls a frame | entries of system calls between the first and the last frame, from a run of their own under `strace -f`: tracing slows the calls down, so nothing else is taken from that run |
//! | frames sent, received | summed over clients and rounds; sent counts a frame once for each client |
//!
//! All of them belong to the steady state: the window opens when every client receives and a second has passed.
//!
//! The column `floor` is what this machine does without any transport:
//!
//! - latency: `FUTEX_WAKE` in one process to the return of `FUTEX_WAIT` in N others, at the same pace;
//! - producer: `videotestsrc` into a `fakesink`;
//! - client: the same futex wait, then reading the frame that came with the wake while the waker writes the next one
//!   into the other of two shared frames, which stay in the caches.
//!
//! How to read it: a live test source writes the next frame as soon as one is sent, and waits afterwards. A client
//! that the scheduler puts on the producer's core can wait as long as that takes (some 1500 µs), and with more busy
//! processes than cores clients wait for one another: then latency is about who gets a core. What a bare futex wake
//! suffers from that stands below the table; it is no floor, for the scheduler may be kinder to others. The same
//! elements measured against themselves differ by up to 12 % in p50 and by a factor of two in p99, on a virtual
//! machine with 2 cores.
//!
//! The executable starts itself again for each producer and client, with the role as its first argument. The parent
//! orders the steps over the children's standard input and reads what they report from their standard output; every
//! wait has a deadline, and a child whose parent is gone ends by itself.

mod client;
mod environment;
mod figures;
mod floor;
mod frame;
mod joins;
mod pipeline;
mod plan;
mod producer;
mod run;
mod table;
mod trace;
mod usage;

use std::process::ExitCode;

use xmem_tests::roles::parent::tell_error;
use xmem_tests::roles::{self, Error, Result};

use environment::Environment;
use figures::{Column, Figures};
use plan::Plan;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = |role: Result<()>| role.inspect_err(|error| tell_error(error));
    let outcome = match words.as_slice() {
        ["probe", elements @ ..] => child(roles::probe(elements)),
        ["producer", sink, warmup, frames] => child(producer::main(sink, warmup, frames)),
        ["client", source, frames] => child(client::main(source, frames)),
        ["joining", source] => child(joins::join(source)),
        ["waiter", memory, load, wakes] => child(floor::wait(memory, load, wakes)),
        options => Plan::parse(options)
            .and_then(|plan| bench(&plan))
            .inspect_err(|error| eprintln!("error: {error}")),
    };
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Measures all that the plan names and prints the table; fails at the end if a part of it failed.
fn bench(plan: &Plan) -> Result<()> {
    let environment = Environment::discover(&plan.kinds)?;
    print!("{environment}");
    if plan.joins {
        let kinds: Vec<_> = environment.kinds().collect();
        return joins::bench(&kinds, &environment);
    }

    let mut figures = Figures::default();
    let mut failures = 0;
    for step in plan.steps(&environment) {
        let outcome = step.measure(plan, &environment, &mut figures);
        match outcome {
            Ok(summary) => eprintln!("{step}: {summary}"),
            Err(error) => {
                failures += 1;
                eprintln!("{step}: FAILED: {error}");
            }
        }
    }

    let columns: Vec<Column> = environment.kinds().map(Column::Kind).collect();
    print!("\n{}", table::Table::new(plan, &figures, &columns));
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} of the runs failed, see above").into()),
    }
}
