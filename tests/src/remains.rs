//! Checks what a pipeline leaves in its process when it is in NULL again.

use crate::pipeline::{Pipeline, threads};
use crate::process;
use crate::wait::{comes_true, until};

/// The number of descriptors and mappings of xmem in a process whose pipeline is in NULL.
fn usage(pipeline: &Pipeline) -> (usize, usize) {
    let pid = pipeline.pid();
    (
        process::fd_count(pid),
        process::maps(pid, "memfd:xmem").len(),
    )
}

/// Runs `work` on a pipeline in NULL, which must leave it in NULL, and checks that nothing is left:
/// descriptors, mappings, threads, messages. Objects that GStreamer keeps for later use should
/// exist before.
///
/// # Panics
/// If anything is left.
pub fn none_of(pipeline: &mut Pipeline, work: impl FnOnce(&mut Pipeline)) {
    // The prefaulting thread unmaps the memory that it was prefaulting.
    until("no mapping of xmem is left", || usage(pipeline).1 == 0);
    let (before, _) = usage(pipeline);
    work(pipeline);
    // Watches on directories are closed by a thread of their own.
    let left = comes_true(|| {
        let (fds, maps) = usage(pipeline);
        fds <= before && maps == 0
    });
    assert!(left, "{before} before: {:#?}", process::fds(pipeline.pid()));
    // GStreamer keeps some threads for its next tasks.
    until("no thread of xmem is left", || {
        let threads = threads(pipeline.pid());
        let is_ours = |name: &String| ["xmem-control", "xmem-prefault"].contains(&name.as_str());
        threads.len() < 12 && !threads.iter().any(is_ours)
    });
    // A source that is stopped while it starts may post this error, whatever its sink is.
    let mut messages = pipeline.messages();
    messages.retain(|message| !message.contains("text=Internal data stream error"));
    assert!(messages.is_empty(), "{messages:?}");
}
