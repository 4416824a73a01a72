//! Names that come from other processes: which are good, and how many are taken.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use xmem_media::limits::MAX_NAME;

/// Most names that the processes of one user bring in.
const MOST_NAMES: u32 = 1 << 16;
/// Most users that are told apart. The last few share their names.
const MOST_USERS: usize = 16;

/// Names of structures, fields and features that become known to a process for good, because
/// GStreamer forgets none.
///
/// What is known here already counts for nothing, so a peer that uses the same names again and again
/// is never refused.
#[derive(Debug)]
pub(crate) struct Names {
    left: AtomicU32,
}

impl Names {
    /// Those that the processes of a user have brought in. Other users' do not count for them, unless
    /// these are very many.
    pub(crate) fn of_user(uid: u32) -> &'static Names {
        static NAMES: [Names; MOST_USERS] = [const { Names::new(MOST_NAMES) }; MOST_USERS];
        static USERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let number = users.iter().position(|user| *user == uid);
        let number = number.unwrap_or_else(|| {
            if users.len() < MOST_USERS {
                users.push(uid);
            }
            users.len() - 1
        });
        &NAMES[number]
    }

    /// For what this process has written itself: its names are known.
    pub(crate) fn own() -> &'static Names {
        static NAMES: Names = Names::new(u32::MAX);
        &NAMES
    }

    /// None but those that are known.
    pub(crate) fn known() -> &'static Names {
        static NAMES: Names = Names::new(0);
        &NAMES
    }

    /// Takes so many new names in all.
    pub(crate) const fn new(most: u32) -> Names {
        Names {
            left: AtomicU32::new(most),
        }
    }

    /// Whether GStreamer may be told this name.
    pub(crate) fn admit(&self, name: &str) -> bool {
        if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
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
                    gst::warning!(
                        crate::log::CAT,
                        "New names of a user's processes are left out from now on: there were \
                         {MOST_NAMES}"
                    );
                }
                // Later versions of GStreamer keep names elsewhere: known from now on.
                glib::Quark::from_str(name);
                true
            }
            Err(_) => false,
        }
    }
}

/// Bytes of another process, and the names that may become known here because of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) names: &'a Names,
}

impl<'a> Told<'a> {
    pub(crate) fn new(bytes: &'a [u8], names: &'a Names) -> Told<'a> {
        Told { bytes, names }
    }
}

/// As if this process had written them.
#[cfg(any(test, fuzzing))]
impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Told<'a> {
    fn from(bytes: &'a T) -> Told<'a> {
        Told::new(bytes.as_ref(), Names::own())
    }
}
