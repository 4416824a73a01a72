//! A child's end of the pipes to its parent; [`Child`](super::Child) is the other end.
//!
//! A child must not panic if its parent has ended, because it would leave behind what its elements
//! have in shared memory. The end of its orders tells it.

use std::fmt::Display;
use std::io::{BufRead, Write};

/// Reports `word` to the parent with `details`, which must be in one line.
pub fn tell(word: &str, details: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{word} {details}");
}

/// Reports to the parent, in one line, why no more reports follow.
pub fn tell_error(error: impl Display) {
    tell("error", error.to_string().replace('\n', " "));
}

/// The orders of the parent, until it wants this child to end.
pub fn orders() -> impl Iterator<Item = String> {
    std::io::stdin()
        .lock()
        .lines()
        .map_while(|order| order.ok())
}
