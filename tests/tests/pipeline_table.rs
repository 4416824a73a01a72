//! The short form of the table of pipelines; `make test-pipelines` runs all of it.

use std::process::Command;

#[test]
fn cut_pipelines_do_what_uncut_pipelines_do() {
    let table = env!("CARGO_BIN_EXE_xmem-test-table");
    let output = Command::new(table).arg("--short").output();
    let output = output.expect("the program of the table starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{progress}\n{table}");
    println!("{table}");
}
