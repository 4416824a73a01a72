//! What a process has: memory of its own, shared memory, descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// At one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Possessions {
    /// Resident anonymous memory, bytes.
    own: i64,
    /// Bytes in the shared memory of which it has a descriptor, whether mapped or not.
    shared: i64,
    /// Descriptors.
    descriptors: i64,
}

impl Possessions {
    /// Of a process; nothing, when it is gone.
    pub fn of(pid: u32) -> Possessions {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let own = status.lines().find_map(|line| {
            let kb = line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?;
            kb.trim().parse::<i64>().ok()
        });
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            return Possessions::default();
        };
        let mut files = BTreeMap::new();
        let mut descriptors = 0;
        for entry in entries.flatten() {
            descriptors += 1;
            // One that was closed meanwhile can't be read.
            let Ok(name) = fs::read_link(entry.path()) else {
                continue;
            };
            let name = name.to_string_lossy();
            let is_memory = ["/memfd:", "/dev/shm/"]
                .iter()
                .any(|kind| name.starts_with(kind));
            if is_memory && let Ok(status) = fs::metadata(entry.path()) {
                files.insert((status.dev(), status.ino()), status.blocks() as i64 * 512);
            }
        }
        Possessions {
            own: own.unwrap_or_default() * 1024,
            shared: files.values().sum(),
            descriptors,
        }
    }

    /// What has come since then.
    pub fn since(self, then: Possessions) -> Growth {
        Growth(Possessions {
            own: self.own - then.own,
            shared: self.shared - then.shared,
            descriptors: self.descriptors - then.descriptors,
        })
    }

    /// Whether it has no more descriptors than then.
    pub fn settled(self, then: Possessions) -> bool {
        self.descriptors <= then.descriptors
    }
}

/// What has come, or gone; in words.
#[derive(Clone, Copy, Debug)]
pub struct Growth(Possessions);

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth(by) = self;
        let mb = |bytes: i64| format!("{:+.1} MB", bytes as f64 / 1e6).replace("-0.0", "+0.0");
        let (own, shared) = (mb(by.own), mb(by.shared));
        write!(
            f,
            "own {own}, shared {shared}, descriptors {:+}",
            by.descriptors
        )
    }
}

/// The names in `/dev/shm`.
pub fn names_in_shm() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten();
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What has come to `/dev/shm` since then, but for what other producers of shm have there: the names, and the bytes
/// in use.
pub fn left_in_shm(then: &BTreeSet<String>, producers: &[u32]) -> Vec<(String, u64)> {
    let is_others = |name: &str| {
        // "shmpipe. 1234.    0": the process, and a count.
        let pid = name.strip_prefix("shmpipe.")?.split('.').next()?;
        let pid: u32 = pid.trim().parse().ok()?;
        (!producers.contains(&pid)).then_some(())
    };
    let used = |name: &String| {
        let status = fs::metadata(format!("/dev/shm/{name}"));
        status.map_or(0, |status| status.blocks() * 512)
    };
    names_in_shm()
        .difference(then)
        .filter(|name| is_others(name).is_none())
        .map(|name| (name.clone(), used(name)))
        .collect()
}
