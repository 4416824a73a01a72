//! Elements that are in no bin: their only reference is floating, and they do not change that.

use std::process::Command;

use xmem_tests::valgrind::Log;
use xmem_tests::{Place, pipeline};

/// The command of a process that runs a story.
fn command(place: &Place, story: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xmem-test-floating"));
    pipeline::set_environment(&mut command);
    command.env("XMEM_RUNTIME_DIR", place.path()).arg(story);
    command
}

fn tell(mut command: Command) {
    let output = command.output().expect("the process starts");
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn changes_of_state_leave_a_floating_reference_as_it_is() {
    let place = Place::new();
    tell(command(&place, "walks"));
}

#[test]
fn failures_leave_a_floating_reference_as_it_is() {
    let place = Place::new();
    tell(command(&place, "failures"));
}

#[test]
fn elements_come_into_bins_after_they_were_used() {
    let place = Place::new();
    tell(command(&place, "bins"));
}

#[test]
fn elements_work_between_pads_without_parents() {
    let place = Place::new();
    tell(command(&place, "harnesses"));
}

#[test]
fn no_memory_of_an_element_is_used_after_its_end() {
    let place = Place::new();
    let log = Log::new(&place, "floating");
    tell(log.watch(command(&place, "all")));
    let is_wrong = |found: &&String| found.starts_with("Invalid ");
    assert_eq!(log.verdict().errors.iter().find(is_wrong), None);
}
