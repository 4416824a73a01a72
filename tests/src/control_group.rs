//! Control groups with little memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group with little memory. Dropping the value removes it.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    limit: &'static str,
}

/// The names of the file with the memory usage, and of the file with the limit.
const USAGES: [(&str, &str); 2] = [
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ("memory.max", "memory.current"),
];

impl Group {
    /// Creates a control group. Returns `None` and prints a message if this test cannot create one.
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
            eprintln!("not tried: control groups with memory limits are not available");
        }
        made
    }

    /// The directory of the group.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Changes its limit.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set(&self, bytes: u64) -> std::io::Result<()> {
        // The file is not created if it is missing: it would not be a file of a control group.
        let file = self.directory.join(self.limit);
        let mut file = fs::OpenOptions::new().write(true).open(file)?;
        std::io::Write::write_all(&mut file, bytes.to_string().as_bytes())
    }

    /// Number of bytes that its processes use.
    ///
    /// # Panics
    /// If the system does not report it.
    pub fn used(&self) -> u64 {
        let (_, usage) = USAGES
            .into_iter()
            .find(|(limit, _)| *limit == self.limit)
            .expect("the limit is in the list");
        let text = fs::read_to_string(self.directory.join(usage)).expect("our group");
        text.trim().parse().expect("a number")
    }

    /// Moves a process into the group.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn take(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).expect("our group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The processes in the group have just ended.
        let _ = crate::wait::comes_true(|| fs::remove_dir(&self.directory).is_ok());
    }
}
