//! Hostile peers that a fuzzer generates. Each function takes the actions of one peer, and checks
//! the guarantees that hold for the other side.
//!
//! The targets in `fuzz/` call these functions, and so do the tests, on the corpora that are kept
//! there.

use std::cell::RefCell;

use crate::Place;

mod client;
pub mod device;
pub mod impostor;
mod input;
pub mod lingering;
mod producer;

pub use client::clients;
pub use producer::producer;

/// A path for a socket that no other run uses.
fn socket_path() -> std::path::PathBuf {
    thread_local! {
        static PLACE: RefCell<(Place, u64)> = RefCell::new((Place::new(), 0));
    }
    PLACE.with_borrow_mut(|(place, count)| {
        *count += 1;
        place.socket(&format!("{count}"))
    })
}
