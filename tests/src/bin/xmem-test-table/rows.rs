//! The rows of the table. To add one, add it to the list of its group: a name, the streams, the
//! pipeline of the client, and what is judged in addition to the rules for all rows.
//!
//! Sinks whose names begin with `out` must receive. If no sink has such a name, any sink may
//! receive.

mod compressed;
mod gathering;
mod joining;
mod timed;

use crate::row::Row;

/// All rows except those of the registry.
pub fn all() -> Vec<Row> {
    let mut rows = timed::rows();
    rows.extend(gathering::rows());
    rows.extend(joining::rows());
    rows.extend(compressed::rows());
    rows
}

/// A decoder and a sink whose pictures are compared.
fn pictures(decoder: &str) -> String {
    format!("{{v}} ! {decoder} ! videoconvert ! video/x-raw,format=I420 ! fakesink name=out")
}

/// A decoder and a sink whose sound is compared.
fn sound(decoder: &str) -> String {
    format!(
        "{{a}} ! {decoder} ! audioconvert ! audioresample ! \
         audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2 ! fakesink name=out"
    )
}
