//! The log of a process: one line for each call, in a file that several processes can share.
//!
//! ```text
//! cuMemcpy2DAsync_v2 pid=71 tid=73 thread=videotestsrc0:s result=0 stream=0x1040 width=320 height=240
//! work pid=71 tid=75 thread=fakecuda-1040 result=0 stream=0x1040 number=3 name=copy
//! exit pid=71 tid=71 thread=main result=0 contexts=1 allocations=0 ...
//! ```
//!
//! The first word is the name of the function; `work` is a line of the engine, written when work has
//! run, and `exit` says what was alive when the process ended, if it ended by itself. A line is
//! written at once, when the call returns. Handles and addresses are hexadecimal. Results of a
//! function follow its arguments.

use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;

use crate::result::{Code, Result};
use crate::settings;

/// Whether calls are logged.
pub fn is_on() -> bool {
    file().is_some()
}

/// Logs a call, with fields that begin with a space.
pub fn call(name: &str, result: Result, fields: &str) {
    let Some(file) = file() else {
        return;
    };
    let mut line = String::new();
    // SAFETY: the call takes no argument.
    let thread = unsafe { libc::gettid() };
    let (pid, name_of_thread) = (std::process::id(), thread_name());
    // Writing to a string does not fail.
    let _ = writeln!(
        line,
        "{name} pid={pid} tid={thread} thread={name_of_thread} result={}{fields}",
        Code::number(result)
    );
    // SAFETY: the buffer has this length. A line that cannot be written is missing in the log, which
    // fails the test that looks for it.
    unsafe { libc::write(file.as_raw_fd(), line.as_ptr().cast(), line.len()) };
}

/// Logs work that has run.
pub fn work(name: &str, stream: usize, number: u64, result: Result) {
    if is_on() {
        let fields = format!(" stream={stream:#x} number={number} name={name}");
        call("work", result, &fields);
    }
}

fn file() -> Option<&'static OwnedFd> {
    static FILE: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = settings::get()?.log.as_ref()?;
        let mut options = std::fs::OpenOptions::new();
        // The flag for exec is set by the standard library.
        let options = options.create(true).append(true).mode(0o600);
        let file = options.open(path);
        let file = file.inspect_err(|error| eprintln!("fakecuda: {}: {error}", path.display()));
        file.ok().map(OwnedFd::from)
    });
    file.as_ref()
}

/// The name of this thread, without spaces.
fn thread_name() -> String {
    let mut name = [0_u8; 16];
    // SAFETY: the buffer has the 16 bytes that the call writes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    name.split_whitespace().collect::<Vec<_>>().join("_")
}
