//! Group ids across processes.
//!
//! Each process counts its own group ids. A group crosses as the id of its process and its group id
//! there, and has a group id of its own in each process that receives it. So streams of one group
//! stay in one group, whichever channels they come from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The maximum number of groups of other processes whose ids are kept. Then all are forgotten, and
/// the next stream of each gets another id.
const MAX_GROUPS: usize = 1024;

/// The id of this process: a hash of its pid and the time.
pub(super) static PROCESS: LazyLock<u64> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    (std::process::id(), xmem_core::monotonic_time()).hash(&mut hasher);
    hasher.finish()
});

/// Returns the group id in this process of a group of another process.
pub(super) fn local_id(group: (u64, u32)) -> gst::GroupId {
    static GROUPS: Mutex<Option<HashMap<(u64, u32), gst::GroupId>>> = Mutex::new(None);
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    let groups = groups.get_or_insert_default();
    if groups.len() >= MAX_GROUPS && !groups.contains_key(&group) {
        groups.clear();
    }
    *groups.entry(group).or_insert_with(gst::GroupId::next)
}
