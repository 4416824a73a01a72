//! The short form of the table of pipelines as people build them; `make test-pipelines` has all of it.

use std::process::Command;

#[test]
fn pipelines_do_behind_a_cut_what_they_do_in_one_piece() {
    let table = env!("CARGO_BIN_EXE_xmem-test-table");
    let output = Command::new(table).arg("--short").output();
    let output = output.expect("the table's program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{progress}\n{table}");
    println!("{table}");
}
