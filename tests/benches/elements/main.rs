//! Compares `xmemsink`/`xmemsrc` with GStreamer's `shmsink`/`shmsrc`, in one run.
//!
//! ```text
//! cargo bench -p xmem-tests --bench elements                        about two minutes
//! cargo bench -p xmem-tests --bench elements -- --quick             a first look, some thirty seconds
//! cargo bench -p xmem-tests --bench elements -- --kinds xmem --clients 1,4,8
//! cargo bench -p xmem-tests --bench elements -- --joins             the first second of a client: see `joins.rs`
//! ```
//!
//! One process produces 1920x1080 RGB at 60 frames per second, and N processes receive it.
//! `videotestsrc` writes each frame completely, directly into the memory that the sink proposes,
//! and every client reads all of it. The kinds alternate in short runs, so that a disturbance of
//! the machine affects both. A figure is the median of its rounds.
//!
//! | figure | definition |
//! |---|---|
//! | latency | from the stamp in the frame, set on the sink pad of the sink when the frame is written, to the first clock read when the buffer arrives on the src pad of the source; µs, over the frames of all clients |
//! | CPU per frame | user and system time of the whole process (`getrusage`), divided by the frames that it sent or received; µs; for clients the mean |
//! | page faults per frame | minor and major (`getrusage`), likewise |
//! | system calls per frame | entries of system calls between the first and the last frame, from a separate run under `strace -f`: tracing slows the calls down, so that run yields nothing else |
//! | frames sent, received | summed over clients and rounds; sent counts a frame once for each client |
//!
//! All figures are of the steady state: the window opens one second after every client receives.
//!
//! The column `floor` is what this machine does without any transport:
//!
//! - latency: `FUTEX_WAKE` in one process to the return of `FUTEX_WAIT` in N others, at the same
//!   pace;
//! - producer: `videotestsrc` into a `fakesink`;
//! - client: the same futex wait, then reading the frame that belongs to the wake, while the waker
//!   writes the next one into the other of two shared frames. These stay in the caches.
//!
//! How to read the table: a live test source writes the next frame as soon as one is sent, and
//! waits afterwards. If the scheduler puts a client on the core of the producer, that client can
//! wait until the frame is written (some 1500 µs). With more busy processes than cores, clients
//! wait for one another. Latency then shows which process gets a core. The line below the table
//! shows how much this delays a bare futex wake. It is not a floor, because the scheduler may treat
//! other processes better. If the same elements are measured against themselves, the results differ
//! by up to 12 % in p50 and by a factor of two in p99, on a virtual machine with 2 cores.
//!
//! The executable starts itself again for each producer and client, with the role as its first
//! argument. The parent writes orders to the standard input of the children and reads their reports
//! from their standard output. Every wait has a deadline, and a child ends by itself if its parent
//! has ended.

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

/// Measures what the plan names and prints the table; returns an error at the end if a run failed.
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
