//! The resources of a process: memory of its own, shared memory, descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The resources at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Possessions {
    /// Resident anonymous memory in bytes.
    own: i64,
    /// Bytes of the shared memory of which the process has a descriptor, mapped or not.
    shared: i64,
    /// Number of descriptors.
    descriptors: i64,
}

impl Possessions {
    /// The resources of a process; zero if it has ended.
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
            // A descriptor that was closed meanwhile cannot be read.
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

    /// The difference to an earlier moment.
    pub fn since(self, then: Possessions) -> Growth {
        Growth(Possessions {
            own: self.own - then.own,
            shared: self.shared - then.shared,
            descriptors: self.descriptors - then.descriptors,
        })
    }

    /// Whether the process has no more descriptors than at that moment.
    pub fn settled(self, then: Possessions) -> bool {
        self.descriptors <= then.descriptors
    }
}

/// The difference between two moments. It prints as text.
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

/// New files in `/dev/shm`, without those of other shm producers: the names, and the bytes in use.
pub fn left_in_shm(then: &BTreeSet<String>, producers: &[u32]) -> Vec<(String, u64)> {
    let is_others = |name: &str| {
        // "shmpipe. 1234.    0": the process ID and a counter.
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
