//! Control groups with little memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group with little memory. It goes when it is empty.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    limit: &'static str,
}

/// The file that tells how much is used, beside the one of the limit.
const USAGES: [(&str, &str); 2] = [
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ("memory.max", "memory.current"),
];

impl Group {
    /// A new one. `None` where this test can't make one: then it says so.
    pub fn new(bytes: u64) -> Option<Group> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xmem-test-{}-{count}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        let made = kinds.into_iter().find_map(|(root, limit)| {
            let directory = Path::new(root).join(&name);
            fs::create_dir(&directory).ok()?;
            let group = Group { directory, limit };
            group.set(bytes).ok().map(|()| group)
        });
        if made.is_none() {
            eprintln!("not tried: there are no control groups of memory to be had");
        }
        made
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Changes its limit.
    ///
    /// # Errors
    /// The system's.
    pub fn set(&self, bytes: u64) -> std::io::Result<()> {
        // Not made where it is missing: that would be a file of no control group.
        let file = self.directory.join(self.limit);
        let mut file = fs::OpenOptions::new().write(true).open(file)?;
        std::io::Write::write_all(&mut file, bytes.to_string().as_bytes())
    }

    /// Bytes that its processes use.
    ///
    /// # Panics
    /// Where the system does not tell.
    pub fn used(&self) -> u64 {
        let (_, usage) = USAGES
            .into_iter()
            .find(|(limit, _)| *limit == self.limit)
            .expect("one of two");
        let text = fs::read_to_string(self.directory.join(usage)).expect("our group");
        text.trim().parse().expect("a number")
    }

    /// Puts a process into it.
    ///
    /// # Panics
    /// When that fails.
    pub fn take(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).expect("our group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The processes in it have ended a moment ago.
        let _ = crate::wait::comes_true(|| fs::remove_dir(&self.directory).is_ok());
    }
}
