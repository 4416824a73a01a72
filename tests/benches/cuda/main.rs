//! Frames in the memory of a CUDA device, from process to process, beside what they replace.
//!
//! ```text
//! cargo bench -p xmem-tests --bench cuda                            about two minutes
//! cargo bench -p xmem-tests --bench cuda -- --quick                 a first look
//! cargo bench -p xmem-tests --bench cuda -- --sizes 1080p,8k --clients 1,8 --frames 5000
//! ```
//!
//! The driver is the machine's. Where there is none, it is the stand-in for it (`tests/fakecuda`), and
//! the output says so: then the times are those of a program on the CPU, and say nothing of a GPU.
//!
//! A producer writes each frame whole on the device (`cuMemsetD8Async`) and passes it to
//! `publish_after`; each client receives it, puts a copy of 4 KiB of it on a stream, and passes it to
//! `release_after`. All are processes of their own.
//!
//! | figure | definition |
//! |---|---|
//! | hand-off | from the moment at which the producer's CPU can see that the device has written the frame (its first thread polls an event of its own; where the work has ended before `publish_after` returns, the call of that) to the return of `receive` in a client, which could enqueue work from then on; over the frames of all clients |
//! | call | how long `publish_after` takes on the thread that calls it |
//! | CPU per frame | user and system time of the whole process (`getrusage`), divided by its frames, in a window in which nothing polls; for clients the mean |
//! | missed | frames of the first window that a client did not receive, summed over the clients |
//!
//! `asleep`: the client waits in `receive`. `spinning`: it calls `receive` with no timeout over and over.
//!
//! The rows below each size are for comparison, and are timed by the CPU that makes the calls:
//!
//! - `device copy`: `cuMemcpyDtoDAsync` of the frame, from before the call until its end is seen;
//! - `VMM import+map+unmap`: what a transport costs that passes a descriptor with each frame;
//! - `legacy open+close`: what a transport costs that opens a handle (`cuIpcOpenMemHandle`) for each frame.
//!
//! The executable starts itself again for each process, with the role as its first argument.

#![allow(unsafe_code, reason = "calls of the driver")]

mod baselines;
mod client;
mod driver;
mod handoff;
mod plan;
mod producer;
mod table;

use std::process::ExitCode;

use xmem_tests::roles::parent::tell_error;
use xmem_tests::roles::{Machine, Result};

use driver::Driver;
use plan::Plan;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = |role: Result<()>| role.inspect_err(|error| tell_error(error));
    let outcome = match words.as_slice() {
        ["device"] => child(driver::describe()),
        ["producer", rest @ ..] => child(producer::main(rest)),
        ["client", rest @ ..] => child(client::main(rest)),
        ["baselines", rest @ ..] => child(baselines::main(rest)),
        ["opener", rest @ ..] => child(baselines::open(rest)),
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

/// Measures what the plan names and prints the tables; returns an error at the end if a run failed.
fn bench(plan: &Plan) -> Result<()> {
    let driver = Driver::find()?;
    print!("{Machine}{driver}");
    let frames = plan.frames(driver.is_stand_in());
    let mut failures = 0;
    for size in &plan.sizes {
        print!("\n{}", table::Head { size, frames });
        for &clients in &plan.clients {
            for is_spinning in [false, true] {
                let run = handoff::Run {
                    size: size.bytes(),
                    clients,
                    is_spinning,
                    frames,
                };
                match run.measure(&driver) {
                    Ok(figures) => print!("{}", table::Row(&run, &figures)),
                    Err(error) => {
                        failures += 1;
                        println!("{} FAILED: {error}", table::label(&run));
                    }
                }
            }
        }
        match baselines::measure(&driver, size.bytes(), frames) {
            Ok(baselines) => print!("{}", table::Baselines(&baselines)),
            Err(error) => {
                failures += 1;
                println!("comparison FAILED: {error}");
            }
        }
    }
    if driver.is_stand_in() {
        println!("\nThese are times of the stand-in for a driver. No GPU was measured.");
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} of the runs failed, see above").into()),
    }
}
