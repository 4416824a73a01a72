//! A table of pipelines as people build them. Each is cut by `xmemsink ! xmemsrc` with default
//! properties, and must do what it does without the cut.
//!
//! ```text
//! make test-pipelines                                  all of it, some 20 minutes
//! target/release/xmem-test-table --short               the part that "make test" runs
//! target/release/xmem-test-table --group compressed    timed, gathering, joining, compressed, drifting, registry
//! target/release/xmem-test-table --only "mp4mux"       rows whose titles contain this; --list prints the titles
//! ```
//!
//! A row is a downstream pipeline and its streams. Producer and client are separate processes. The
//! client counts buffers at the pad of the source and at the sinks:
//!
//! | column | the client |
//! |---|---|
//! | first | waits for the producer, and receives its first frames |
//! | late | joins a producer that has run for a second; as many times as the row says, and in some of these it pauses |
//! | reconnected | is the client of `first`, whose producer has ended (in every other row it was killed), and another producer has started |
//! | switched | is the client of `late`, set to another channel while it plays |
//! | uncut | is the same pipeline with a plain link instead of `xmemsink ! xmemsrc`; if `reconnected` or `switched` has a fault left, also with a gap in its stream |
//!
//! These are faults if the uncut pipeline does not have them too: a missed frame (also by the frame
//! numbers); a source that stalls; a running time that is negative or decreases; a segment after
//! the first one; an error on the bus; a GLib warning or worse; a process that dies; a picture or
//! sound that differs from what the test source makes. If times or losses can be caused by a busy
//! machine, the row runs once more alone on the machine, and the table shows the result of the
//! first run too. Only the long form judges how soon the first picture arrives.
//!
//! A row whose elements are not installed is in the table, with their names. The registry provides
//! the elements that combine streams, so all installed ones are tried.
//!
//! The executable starts itself again for each producer and client, with the role as its first
//! argument.

mod client;
mod client_process;
mod figures;
mod judge;
mod picture;
mod plan;
mod problems;
mod producer;
mod registry;
mod row;
mod rows;
mod run;
mod sheet;
mod sink_watch;
mod source_watch;
mod streams;
mod tries;
mod webrtc;

use std::process::ExitCode;

use xmem_tests::roles::parent::tell_error;
use xmem_tests::roles::{self, Installation, Result};

use plan::Plan;
use sheet::{Outcome, Table};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = |role: Result<()>| role.inspect_err(|error| tell_error(error));
    let outcome = match words.as_slice() {
        ["probe", elements @ ..] => child(roles::probe(elements)),
        ["registry"] => child(registry::list()),
        ["producer", ppm, description] => child(producer::main(ppm, description)),
        ["client", look, sources, description] => child(client::main(look, sources, description)),
        options => Plan::parse(options)
            .and_then(|plan| fill(&plan))
            .inspect_err(|error| eprintln!("error: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs all rows of the plan, and prints the table. Returns an error at the end if there are
/// faults.
fn fill(plan: &Plan) -> Result<()> {
    let mut rows = rows::all();
    rows.retain(|row| plan.wants(row));
    let elements: Vec<String> = rows.iter().flat_map(row::Row::elements).collect();
    let mut names: Vec<&str> = elements.iter().map(String::as_str).collect();
    names.extend(["xmemsink", "xmemsrc"]);
    names.sort_unstable();
    names.dedup();
    let installation = Installation::discover("xmem-table-", &names)?;
    if !installation.has("xmemsink") || !installation.has("xmemsrc") {
        return Err(
            "GStreamer does not find xmemsink and xmemsrc: build the plugin (make build) or set \
             GST_PLUGIN_PATH"
                .into(),
        );
    }
    let found = registry::look(&installation)?;
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row, None)).collect();
    rows.extend(found.rows.into_iter().filter(|(row, _)| plan.wants(row)));
    if plan.list {
        rows.iter().for_each(|(row, _)| println!("{}", row.title()));
        return Ok(());
    }
    print!("{installation}");
    let filled = tries::all(plan, &installation, found.can_switch, rows);
    print!("\n{}", Table(&filled));

    let count = |is_it: &dyn Fn(&Outcome) -> bool| {
        filled
            .iter()
            .filter(|filled| is_it(&filled.outcome))
            .count()
    };
    let faulty = filled
        .iter()
        .filter(|filled| !filled.faults().is_empty())
        .count();
    let not_here = count(&|outcome| matches!(outcome, Outcome::NotHere(_)));
    let not_tried = count(&|outcome| matches!(outcome, Outcome::NotTried(_)));
    println!(
        "\n{} rows: {faulty} with faults, {not_here} not installed, {not_tried} not tried",
        filled.len()
    );
    match (faulty, filled.len() - not_here - not_tried) {
        (_, 0) => Err("no row was tried".into()),
        (0, _) => Ok(()),
        (faulty, _) => Err(format!("{faulty} rows have faults, see above").into()),
    }
}
