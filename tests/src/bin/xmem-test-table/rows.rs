//! The rows of the table. To add one, add it to the list of its group: a name, the streams, the client's pipeline, and
//! what is judged beside what is judged of all.
//!
//! Sinks whose names begin with `out` must receive; where no sink has such a name, any sink may.

mod compressed;
mod gathering;
mod joining;
mod timed;

use crate::row::Row;

/// All rows but those that are made of the registry.
pub fn all() -> Vec<Row> {
    let mut rows = timed::rows();
    rows.extend(gathering::rows());
    rows.extend(joining::rows());
    rows.extend(compressed::rows());
    rows
}

/// Pictures that are compared at the sink.
fn pictures(decoder: &str) -> String {
    format!("{{v}} ! {decoder} ! videoconvert ! video/x-raw,format=I420 ! fakesink name=out")
}

/// Sound that is compared at the sink.
fn sound(decoder: &str) -> String {
    format!(
        "{{a}} ! {decoder} ! audioconvert ! audioresample ! \
         audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2 ! fakesink name=out"
    )
}
