//! `scripts/gpu-check.sh`, which checks xmem on a machine with a GPU, works: it runs here in its shortest
//! form, on the stand-in for the driver.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xmem_tests::pipeline::set_environment;
use xmem_tests::{Place, program};

/// The programs that the script runs, without tests.
const PROGRAMS: [&str; 5] = [
    "xmem-test-questions",
    "xmem-test-gpu",
    "xmem-test-stamps",
    "libfakecuda.so",
    "libgstxmem.so",
];

/// The newest build of a test, if it was built.
fn test_program(name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(program::directory().join("deps")).ok()?;
    let built = entries.flatten().filter(|entry| {
        let file = entry.file_name();
        let hash = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        hash.is_some_and(|hash| !hash.contains('.'))
    });
    let newest = built.max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
    Some(newest?.path())
}

fn check(options: &[&str], place: &Place) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/gpu-check.sh");
    let mut command = Command::new(script);
    set_environment(&mut command);
    command
        .args(options)
        .arg("--programs")
        .arg(place.path().join("bin"))
        .arg("--out")
        .arg(place.path().join("out"))
        .stdin(Stdio::null());
    let output = command.output().expect("the script starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// A place with the programs that were built beside this one.
fn place() -> Place {
    let place = Place::new();
    let programs = place.path().join("bin");
    fs::create_dir(&programs).expect("the place can be written");
    for name in PROGRAMS {
        symlink(program::path(name), programs.join(name)).expect("the place can be written");
    }
    if let Some(program) = test_program("cuda_torn_frames") {
        let name = programs.join("test-cuda_torn_frames");
        symlink(program, name).expect("the place can be written");
    }
    place
}

#[test]
fn a_machine_is_checked_and_a_table_printed_without_times_of_the_stand_in() {
    let place = place();
    let (is_ok, output) = check(&["--driver", "stand-in", "--short"], &place);
    assert!(is_ok, "{output}");
    let table = fs::read_to_string(place.path().join("out/table.md"));
    let table = table.expect("the table was written");
    let mut rows = table.lines();
    assert_eq!(
        rows.next(),
        Some("| question or figure | answer | device | driver |"),
        "{table}"
    );
    assert_eq!(rows.next(), Some("|---|---|---|---|"));
    let rows: Vec<&str> = rows.collect();
    for row in &rows {
        assert!(row.ends_with(" | no GPU: the stand-in | none |"), "{row}");
        assert!(!row.contains("p50"), "{row}");
    }
    let answer = |question: &str| {
        let row = rows
            .iter()
            .find(|row| row.starts_with(&format!("| {question}")));
        *row.unwrap_or_else(|| panic!("no answer to {question}:\n{output}"))
    };
    assert!(answer("attribute 102").contains("| 1 |"));
    assert!(answer("cuInit and primary context").contains("(not timed)"));
    let memory = answer("Q1 read-only, imported by another process (memset writes)");
    assert!(memory.contains("the owner's memory right"), "{memory}");
    assert!(answer("Q2 import by another process").contains("right"));
    assert!(answer("figures").contains("SKIP"));
    let is_built = test_program("cuda_torn_frames").is_some();
    assert!(!is_built || answer("torn frames").contains("| 0 of "));
    answer("GStreamer");
}

#[test]
fn a_machine_without_a_driver_is_told_how_to_check_one_that_has_it() {
    let place = place();
    let (is_ok, output) = check(&["--only", "facts"], &place);
    // Where there is a GPU, its facts are printed.
    if !is_ok {
        assert!(output.contains("There is no GPU here"), "{output}");
        assert!(output.contains("make gpu-bundle"), "{output}");
    }
}
