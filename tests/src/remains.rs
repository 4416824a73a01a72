//! What is left in a process when its pipeline is in NULL again.

use crate::pipeline::{Pipeline, threads};
use crate::process;
use crate::wait::{comes_true, until};

/// Descriptors and mappings of a pipeline in NULL.
fn usage(pipeline: &Pipeline) -> (usize, usize) {
    let pid = pipeline.pid();
    (
        process::fd_count(pid),
        process::maps(pid, "memfd:xmem").len(),
    )
}

/// Has a pipeline in NULL do something that ends in NULL, and looks for what it leaves: descriptors,
/// mappings, threads, messages. What GStreamer keeps for later should be there before.
///
/// # Panics
/// When something is left.
pub fn none_of(pipeline: &mut Pipeline, work: impl FnOnce(&mut Pipeline)) {
    // The thread that prefaults unmaps what it was at work on.
    until("no mapping of ours is left", || usage(pipeline).1 == 0);
    let (before, _) = usage(pipeline);
    work(pipeline);
    // Watches on directories are closed by a thread of their own.
    let left = comes_true(|| {
        let (fds, maps) = usage(pipeline);
        fds <= before && maps == 0
    });
    assert!(left, "{before} before: {:#?}", process::fds(pipeline.pid()));
    // GStreamer keeps some threads for its next tasks.
    until("no thread of ours is left", || {
        let threads = threads(pipeline.pid());
        let is_ours = |name: &String| ["xmem-control", "xmem-prefault"].contains(&name.as_str());
        threads.len() < 12 && !threads.iter().any(is_ours)
    });
    // A source that is stopped while it starts may say this, whatever its sink is.
    let mut messages = pipeline.messages();
    messages.retain(|message| !message.contains("text=Internal data stream error"));
    assert!(messages.is_empty(), "{messages:?}");
}
