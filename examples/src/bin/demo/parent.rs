//! A child's view of the demo: reports go out, orders come in.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, channel};

use crate::report::{Order, Report};

/// Says something to the demo.
pub fn tell(report: &Report) {
    let mut output = std::io::stdout().lock();
    // Nobody listens? Then the demo is gone, and `orders` ends this process.
    let _ = writeln!(output, "{report}").and_then(|()| output.flush());
}

/// The demo's orders. When the demo is gone, however it went, this process ends too.
pub fn orders() -> Receiver<Order> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.parse::<Order>() {
                // Not every role takes orders.
                Ok(order) => drop(sender.send(order)),
                Err(error) => tell(&Report::Warned(error.to_string())),
            }
        }
        std::process::exit(1);
    });
    orders
}

/// The time on the clock that all processes share, `CLOCK_MONOTONIC`, in nanoseconds.
pub fn now() -> u64 {
    xmem_core::monotonic_time().as_nanos() as u64
}
