//! Names that come from other processes: which are good, and how many are taken.

use std::sync::atomic::{AtomicU32, Ordering};

use gst::glib;

/// Names of structures, fields and features that become known to a process for ever, because
/// GStreamer forgets none.
///
/// What is known here already counts for nothing, so a producer that uses the same names again
/// and again is never refused.
#[derive(Debug)]
pub(crate) struct Names {
    left: AtomicU32,
}

impl Names {
    /// Longest name, in bytes.
    pub(crate) const MAX_BYTES: usize = 255;

    /// Takes so many new names in all.
    pub(crate) const fn new(most: u32) -> Names {
        Names {
            left: AtomicU32::new(most),
        }
    }

    /// Whether GStreamer may be told this name.
    pub(crate) fn admit(&self, name: &str) -> bool {
        if name.is_empty() || name.len() > Names::MAX_BYTES || name.contains('\0') {
            return false;
        }
        if glib::Quark::try_from_str(name).is_some() {
            return true;
        }
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match taken {
            Ok(last) => {
                if last == 1 {
                    gst::warning!(crate::CAT, "Other processes' new names are left out now");
                }
                // Later versions of GStreamer keep names elsewhere: known from now on.
                glib::Quark::from_str(name);
                true
            }
            Err(_) => false,
        }
    }
}

/// Whether a structure may have this name. GStreamer says CRITICAL where not.
pub(crate) fn is_structure_name(name: &str) -> bool {
    // Of these it warns: nobody has used them since GStreamer 0.10.
    let is_old = |old| name.starts_with(old);
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:+".contains(&byte))
        && !["video/x-raw-", "audio/x-raw-"].iter().any(is_old)
}

/// Whether this can be a feature of caps: `memory:DMABuf`, for example.
pub(super) fn is_feature_name(name: &str) -> bool {
    name.split_once(':').is_some_and(|(kind, what)| {
        kind.bytes().all(|byte| byte.is_ascii_alphabetic())
            && what.starts_with(|first: char| first.is_ascii_alphabetic())
            && what.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
