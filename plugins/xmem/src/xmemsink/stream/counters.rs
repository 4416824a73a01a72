//! What a stream counts, for the property `stats`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use xmem_core::Error;

/// Written by the thread that publishes, read by any.
#[derive(Default)]
pub(in crate::xmemsink) struct Counters {
    pub(in crate::xmemsink) zero_copy: AtomicU64,
    pub(in crate::xmemsink) imported: AtomicU64,
    pub(in crate::xmemsink) copied: AtomicU64,
    pub(in crate::xmemsink) copied_bytes: AtomicU64,
    /// The number of frames that a CUDA device has copied.
    pub(in crate::xmemsink) copied_device: AtomicU64,
    pub(in crate::xmemsink) copied_device_bytes: AtomicU64,
    pub(in crate::xmemsink) dropped: AtomicU64,
    /// The number of frames that were copied because a client refuses memory that other processes
    /// may write.
    pub(in crate::xmemsink) unsealed: AtomicU64,
    /// The number of metas that every source would refuse.
    pub(in crate::xmemsink) refused_metas: AtomicU64,
    /// Whether the application was told of dropped frames: because upstream holds all slots, and
    /// because the system has no resources for another slot.
    told: [AtomicBool; 2],
}

impl Counters {
    /// Counts a dropped frame. Returns whether it is the first that was dropped for this reason.
    pub(in crate::xmemsink) fn drop_for(&self, error: &Error) -> bool {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let reason = usize::from(matches!(error, Error::ResourceExhausted { .. }));
        !self.told[reason].swap(true, Ordering::Relaxed)
    }
}

/// Counts what `publish` publishes, and takes the count back if that fails. The counter changes
/// first, because a client can receive the frame before `publish` returns, and a reader of `stats`
/// then has to see it counted.
pub(super) fn counted<T, E>(
    counter: &AtomicU64,
    count: u64,
    publish: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    counter.fetch_add(count, Ordering::Relaxed);
    publish().inspect_err(|_| {
        counter.fetch_sub(count, Ordering::Relaxed);
    })
}
