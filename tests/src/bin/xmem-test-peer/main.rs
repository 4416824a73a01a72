//! A producer or a client that tests control:
//! `xmem-test-peer producer|opener|client [channel=NAME | path=SOCKET] ...`. With `uid` it becomes
//! another user first, if it is root.
//!
//! The thread `worker` obeys the orders in sequence. Orders that must not wait behind another order
//! (`Cancel`, `Halt`, ...) are obeyed by the thread that reads them. The line `begun` says that an
//! order which takes long has begun, and `failed` reports an error of xmem. With `threads=one` the
//! first thread is the worker.

mod client;
mod opener;
mod producer;
mod timed;
mod usage;

use std::sync::mpsc;

use xmem_core::{Channel, Error};
use xmem_tests::order::{self, Order};
use xmem_tests::{Line, nobody};

/// Obeys orders in sequence; each call returns the answer.
type Worker<O> = Box<dyn FnMut(&O) -> xmem_core::Result<Line> + Send>;

/// Obeys orders at once; returns `None` for an order that is not such an order.
type Herald<O> = Box<dyn Fn(&O) -> Option<Line>>;

/// Obeys the orders `O`.
struct Role<O> {
    worker: Worker<O>,
    herald: Herald<O>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = Line::parse(&arguments.join(" "));
    if let Some(uid) = settings.get_number("uid") {
        nobody::become_user(uid as u32);
    }
    match settings.word.as_str() {
        "producer" => run(producer::start(&settings), &settings),
        "client" => run(client::start(&settings), &settings),
        "opener" => run(opener::start(&settings), &settings),
        other => panic!("{other:?} is not a role"),
    }
}

fn run<O: Order + Send + 'static>(role: xmem_core::Result<Role<O>>, settings: &Line) {
    let Role { worker, herald } = match role {
        Ok(role) => role,
        Err(error) => {
            println!("{}", failed(&error));
            return;
        }
    };
    if settings.get("threads") == Some("one") {
        // Orders that have to be obeyed at once do not work in this case.
        return work(worker, order::received());
    }
    let (orders, queue) = mpsc::channel::<O>();
    let worker = std::thread::Builder::new()
        .name("worker".into())
        .spawn(move || work(worker, queue))
        .expect("a thread starts");
    for order in order::received::<O>() {
        match herald(&order) {
            Some(answer) => tell(&order, answer),
            None => orders.send(order).expect("the worker runs"),
        }
    }
    // The worker drops everything, after the orders that it still has.
    drop(orders);
    worker.join().expect("the worker does not panic");
}

/// The channel of the settings: `path`, the path of its socket, or `channel`, its name.
fn channel_of(settings: &Line) -> Channel {
    match settings.get("path") {
        Some(path) => Channel::path(path),
        None => Channel::name(settings.get("channel").unwrap_or("cam0")),
    }
}

/// The permissions of the socket from the settings: `perms`, in octal digits.
fn perms_of(settings: &Line) -> u32 {
    let perms = settings.get("perms").unwrap_or("600");
    u32::from_str_radix(perms, 8).expect("octal digits")
}

fn work<O: Order>(mut worker: Worker<O>, queue: impl IntoIterator<Item = O>) {
    // If the worker panics, the test must not wait for it.
    let bomb = Bomb;
    for order in queue {
        match worker(&order) {
            Ok(answer) => tell(&order, answer),
            Err(error) => println!("{}", failed(&error)),
        }
    }
    drop(worker);
    std::mem::forget(bomb);
}

/// Answers an order.
fn tell(order: &impl Order, mut answer: Line) {
    answer.word = order.answer().into();
    println!("{answer}");
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
