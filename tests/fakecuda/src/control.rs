//! The socket on which a test commands the driver of a process.
//!
//! It is a stream socket named after the PID, in the directory `FAKECUDA_CONTROL`, and exists once
//! `cuInit` has returned. A command is a line, and so is its answer, which comes when the command is
//! done.
//!
//! | command | answer | effect |
//! |---|---|---|
//! | `run N [STREAM]` | `ran count=K left=L` | runs the N oldest held works, of this stream (a handle: `0x1040`) or of all; K < N if there are no more that can run; L works are left in all streams |
//! | `run all [STREAM]` | as above | runs held work until none can run |
//! | `open` | `open` | work runs at once from now on |
//! | `hold` | `held` | work is held again, or for the first time |
//! | `fail [CODE]` | `fails` | the next work that runs fails with this error (719), which ends its context |
//! | `lose [CODE]` | `lost` | all contexts end with this error (999), and no new one can be created |
//! | `queued` | `queued count=N 0x1040=2 ...` | counts the work that is not done, also for each stream |
//! | `alive` | `alive contexts=1 ...` | counts what was not given back |
//!
//! An answer to anything else begins with `error`. Work means copies, fills, host functions and
//! writes of values. When `run` answers, the events behind the work that has run are complete too.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::result::{Code, Result};
use crate::settings::Mode;
use crate::{alive, driver, thread};

/// The name of the threads that obey a test.
const THREAD: &str = "fakecuda-test";

/// Listens in this directory.
pub fn listen(directory: &Path) -> Result {
    let path = directory.join(std::process::id().to_string());
    // An earlier process may have had this ID.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path);
    let listener = listener.map_err(|error| {
        eprintln!("fakecuda: {}: {error}", path.display());
        Code::UNKNOWN
    })?;
    thread::spawn(THREAD, move || {
        for connection in listener.incoming().flatten() {
            // Without a thread the connection is closed, which fails the test.
            let _ = thread::spawn(THREAD, move || serve(connection));
        }
    })
}

fn serve(mut connection: UnixStream) {
    let Ok(input) = connection.try_clone() else {
        return;
    };
    for line in BufReader::new(input).lines().map_while(|line| line.ok()) {
        let answer = answer(&line).unwrap_or_else(|| format!("error text={line}"));
        if writeln!(connection, "{answer}").is_err() {
            return;
        }
    }
}

fn answer(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let code = |default, text: Option<&&str>| match text {
        Some(text) => text.parse().ok().map(Code),
        None => Some(default),
    };
    match words.as_slice() {
        ["run", count, stream @ ..] if stream.len() <= 1 => {
            let limit = match *count {
                "all" => u64::MAX,
                count => count.parse().ok()?,
            };
            let stream = match stream.first() {
                Some(text) => Some(usize::from_str_radix(text.strip_prefix("0x")?, 16).ok()?),
                None => None,
            };
            let (count, left) = run(limit, stream);
            Some(format!("ran count={count} left={left}"))
        }
        ["open"] => {
            driver::lock().streams.set_mode(Mode::Eager);
            driver::progress();
            Some("open".into())
        }
        ["hold"] => {
            driver::lock().streams.set_mode(Mode::Hold);
            Some("held".into())
        }
        ["fail", rest @ ..] => {
            driver::lock().next_failure = Some(code(Code::LAUNCH_FAILED, rest.first())?);
            Some("fails".into())
        }
        ["lose", rest @ ..] => {
            driver::lock().lose(code(Code::UNKNOWN, rest.first())?);
            Some("lost".into())
        }
        ["queued"] => {
            let work = driver::lock().streams.work();
            let count: usize = work.iter().map(|(_, count)| count).sum();
            let streams = work
                .iter()
                .map(|(stream, count)| format!(" {stream:#x}={count}"));
            Some(format!(
                "queued count={count}{}",
                streams.collect::<String>()
            ))
        }
        ["alive"] => Some(format!("alive{}", alive::fields(&driver::lock()))),
        _ => None,
    }
}

/// Runs held work. Returns how much has run, and how much is left.
fn run(limit: u64, only: Option<usize>) -> (u64, usize) {
    let mut count = 0;
    let mut driver = driver::lock();
    loop {
        // What runs or passes now may be what other tasks wait for.
        while driver.streams.are_moving() {
            driver = driver::poll(driver);
        }
        let held = driver.streams.oldest_held(only).filter(|_| count < limit);
        let Some((stream, sequence)) = held else {
            let left = driver.streams.work().iter().map(|(_, count)| count).sum();
            return (count, left);
        };
        driver.streams.release(stream);
        driver::progress();
        while !driver.streams.is_done(stream, sequence) && is_healthy(&driver, stream) {
            driver = driver::wait(driver);
        }
        // Not used if the context has ended meanwhile.
        driver.streams.withdraw(stream);
        count += 1;
    }
}

fn is_healthy(driver: &driver::Locked, stream: usize) -> bool {
    let context = driver.streams.context_of_any(stream);
    context.is_some_and(|context| driver.context(context).is_ok())
}
