//! A producer or a client that tests control:
//! `xmem-test-peer producer|opener|client channel=NAME ...`, or `path=SOCKET` instead of the name.
//! With `uid` it becomes another user first, if it is root.
//!
//! It reads orders as lines from the standard input and writes answers as lines to the standard
//! output. The thread `worker` obeys the orders in sequence. Orders that must not wait behind
//! another order (`cancel`, `halt`, ...) are obeyed by the thread that reads them. The answer
//! `failed` reports an error of xmem; a line with any other unexpected first word is a bug. The
//! process ends when its input ends. With `threads=one` the first thread is the worker.

mod client;
mod opener;
mod producer;
mod timed;
mod usage;

use std::io::BufRead;
use std::sync::mpsc;

use xmem_core::{Channel, Error};
use xmem_tests::{Line, nobody};

/// Obeys orders in sequence; each call returns the answer.
type Worker = Box<dyn FnMut(&Line) -> xmem_core::Result<Line> + Send>;

/// Obeys orders at once; returns `None` for an order that it does not know.
type Herald = Box<dyn Fn(&Line) -> Option<Line>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = Line::parse(&arguments.join(" "));
    if let Some(uid) = settings.get_number("uid") {
        nobody::become_user(uid as u32);
    }
    let role = match settings.word.as_str() {
        "producer" => producer::start(&settings),
        "client" => client::start(&settings),
        "opener" => opener::start(&settings),
        other => panic!("{other:?} is not a role"),
    };
    let (worker, herald) = match role {
        Ok(role) => role,
        Err(error) => {
            println!("{}", failed(&error));
            return;
        }
    };
    if settings.get("threads") == Some("one") {
        // Orders that have to be obeyed at once do not work in this case.
        let orders = std::io::stdin().lock().lines().map_while(|line| line.ok());
        return work(worker, orders.map(|line| Line::parse(&line)));
    }
    let (orders, queue) = mpsc::channel::<Line>();
    let worker = std::thread::Builder::new()
        .name("worker".into())
        .spawn(move || work(worker, queue))
        .expect("a thread starts");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let line = Line::parse(&line);
        match herald(&line) {
            Some(answer) => println!("{answer}"),
            None if line.word == "exit" => {
                // The worker drops everything, after the orders that it still has.
                drop(orders);
                worker.join().expect("the worker does not panic");
                return;
            }
            None => orders.send(line).expect("the worker runs"),
        }
    }
    // The input has ended, so no more orders follow, whatever the worker does.
    std::process::exit(1);
}

/// The channel of the settings: `channel`, its name, or `path`, the path of its socket.
fn channel_of(settings: &Line) -> Channel {
    match settings.get("path") {
        Some(path) => Channel::path(path),
        None => Channel::name(settings.text("channel")),
    }
}

/// The permissions of the socket from the settings: `perms`, in octal digits.
fn perms_of(settings: &Line) -> u32 {
    let perms = settings.get("perms").unwrap_or("600");
    u32::from_str_radix(perms, 8).expect("octal digits")
}

fn work(mut worker: Worker, queue: impl IntoIterator<Item = Line>) {
    // If the worker panics, the test must not wait for it.
    let bomb = Bomb;
    for order in queue {
        match worker(&order) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("{}", failed(&error)),
        }
    }
    drop(worker);
    std::mem::forget(bomb);
}

/// Ends the process when the thread panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::process::exit(2);
    }
}

/// Converts an error to an answer.
fn failed(error: &Error) -> Line {
    let debug = format!("{error:?}");
    let kind = debug.split([' ', '(', '{']).next().unwrap_or_default();
    Line::new("failed")
        .with("kind", kind)
        .with("retryable", error.is_retryable())
        .with("text", error)
}
