//! The programs that cargo built with this one.

use std::path::PathBuf;

/// The directory where cargo puts programs and libraries: `target/release`, for example.
pub fn directory() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let directory = program.parent().expect("the program is in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("deps is in a directory"),
        _ => directory,
    }
    .to_owned()
}

/// The path of a program.
pub fn path(name: &str) -> String {
    let path = directory().join(name).into_os_string();
    path.into_string().expect("the path is text")
}
