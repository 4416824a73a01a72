//! A child's end of the pipes to its parent; [`Child`](super::Child) is the other.
//!
//! A parent that is gone is no reason to panic: a child that does would leave behind what its elements have in shared
//! memory. It hears of it by the end of its orders.

use std::fmt::Display;
use std::io::{BufRead, Write};

/// Tells the parent that `word` has come about, with `details`, which must be in one line.
pub fn tell(word: &str, details: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{word} {details}");
}

/// Tells the parent, in one line, why there will be no more.
pub fn tell_error(error: impl Display) {
    tell("error", error.to_string().replace('\n', " "));
}

/// The parent's orders, until it wants this child to end.
pub fn orders() -> impl Iterator<Item = String> {
    std::io::stdin()
        .lock()
        .lines()
        .map_while(|order| order.ok())
}
