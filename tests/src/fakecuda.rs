//! CUDA on a machine without a GPU: a stand-in for NVIDIA's driver, for the processes of a test.
//!
//! The library is built with the tests, as `libfakecuda.so` beside their programs; its
//! documentation says what it can and cannot show. Here it is installed under the names of the
//! driver, in a directory of the test. Only child processes get that directory, so a test process
//! never loads it.
//!
//! # On a GPU
//!
//! With `XMEM_REAL_CUDA=1` child processes get the driver of the machine instead. A test that has to
//! control the driver, or to look into its log, then says so and ends its process with the status
//! [`SKIPPED`]. So each test needs a process of its own, as `scripts/gpu-check.sh` does it.

mod control;
pub mod numbers;
mod program;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

pub use control::{Control, WorkRun};
pub use program::{Argument, Bytes, Cuda, CudaOrder};

use crate::line::Line;
use crate::pipeline::set_environment;
use crate::program as built;
use crate::wait::until_some;

/// When the work of streams runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Within the call that enqueues it, unless it has to wait.
    Eager,
    /// Each work takes this time.
    Delay(Duration),
    /// When the test releases it by a [`Control`].
    Hold,
}

/// The status of a process whose test needs the stand-in.
pub const SKIPPED: i32 = 77;

/// Whether child processes get the driver of the machine.
pub fn is_real() -> bool {
    std::env::var_os("XMEM_REAL_CUDA").is_some_and(|value| value == "1")
}

/// Says that a test needs the stand-in, and ends the process, if the driver is the machine's.
pub fn needs_stand_in(why: &str) {
    if is_real() {
        eprintln!("SKIP it needs the stand-in for the driver: {why}");
        std::process::exit(SKIPPED);
    }
}

/// A driver for the child processes of a test, with its settings. Dropping the value removes it.
#[derive(Debug)]
pub struct FakeCuda {
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl FakeCuda {
    /// Installs the driver.
    #[allow(clippy::new_without_default)]
    pub fn new() -> FakeCuda {
        FakeCuda::without(&[])
    }

    /// Installs a driver in which these functions are missing, as in older ones.
    ///
    /// # Panics
    /// If the driver has no such function.
    pub fn without(functions: &[&str]) -> FakeCuda {
        if !functions.is_empty() {
            needs_stand_in("a driver without some functions");
        }
        let directory = tempfile::Builder::new().prefix("xmem-cuda-").tempdir();
        let directory = directory.expect("a temporary directory");
        let settings = Vec::new();
        if is_real() {
            return FakeCuda {
                directory,
                settings,
            };
        }
        let library = built::directory().join("libfakecuda.so");
        let mut content = fs::read(&library).unwrap_or_else(|error| {
            panic!(
                "{}: {error}: build it with \"cargo build --release -p fakecuda\"",
                library.display()
            )
        });
        functions
            .iter()
            .for_each(|function| rename(&mut content, function));
        let path = |name: &str| directory.path().join(name);
        fs::write(path("libcuda.so"), content).expect("the directory can be written");
        // All names are links to one file, because two files would be two drivers.
        for name in ["libcuda.so.1", "libnvcuvid.so.1"] {
            symlink("libcuda.so", path(name)).expect("the directory can be written");
        }
        fs::create_dir(path("control")).expect("the directory can be written");
        FakeCuda {
            directory,
            settings,
        }
    }

    /// Adds a setting: a variable of the environment, as the library documents it.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> FakeCuda {
        needs_stand_in(name);
        self.settings.push((name, value.to_string()));
        self
    }

    /// Sets when work runs.
    pub fn mode(self, mode: Mode) -> FakeCuda {
        let mode = match mode {
            Mode::Eager => "eager".to_owned(),
            Mode::Delay(time) => format!("delay:{}", time.as_micros()),
            Mode::Hold => "hold".to_owned(),
        };
        self.with("FAKECUDA_MODE", mode)
    }

    /// Sets the number of devices of the machine.
    pub fn devices(self, count: usize) -> FakeCuda {
        self.with("FAKECUDA_DEVICES", count)
    }

    /// Has call number `call` of a function fail with this code.
    pub fn failing(self, function: &str, call: u64, code: u32) -> FakeCuda {
        self.with("FAKECUDA_FAIL", format!("{function}@{call}:{code}"))
    }

    /// The directory with the driver.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a child process the driver.
    pub fn apply(&self, command: &mut Command) {
        if is_real() {
            return;
        }
        let mut search = self.path().as_os_str().to_owned();
        if let Some(inherited) = std::env::var_os("LD_LIBRARY_PATH") {
            search.push(":");
            search.push(inherited);
        }
        command
            .env("LD_LIBRARY_PATH", search)
            .env("FAKECUDA_LOG", self.log_file())
            .env("FAKECUDA_CONTROL", self.path().join("control"))
            .env_remove("CUDA_VISIBLE_DEVICES")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// Gives a child process with GStreamer the driver, and the plugins that need one.
    ///
    /// # Panics
    /// If GStreamer has no such plugins: see [`gstreamer_has_cuda`].
    pub fn apply_to_gstreamer(&self, command: &mut Command) {
        let registry = registry().expect("GStreamer has cudaupload");
        self.apply(command);
        command.env("GST_REGISTRY", registry);
    }

    fn log_file(&self) -> PathBuf {
        self.path().join("log")
    }

    /// The calls of all processes so far, one line each: the function, then `pid`, `tid`,
    /// `thread`, `result`, and its arguments. Lines with `work` are work that has run.
    pub fn log(&self) -> Vec<Line> {
        needs_stand_in("its log");
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        // The last line may be incomplete.
        let lines = log.split_inclusive('\n');
        lines
            .filter_map(|line| line.strip_suffix('\n'))
            .map(Line::parse)
            .collect()
    }

    /// The calls of a function so far.
    pub fn calls(&self, function: &str) -> Vec<Line> {
        let mut log = self.log();
        log.retain(|line| line.word == function);
        log
    }

    /// What a process had not given back when it ended, or `None` if it did not end by itself.
    pub fn left_by(&self, pid: u32) -> Option<Line> {
        let ends = self.calls("exit");
        ends.into_iter()
            .find(|line| line.number("pid") == u64::from(pid))
    }

    /// Checks that a process has given all of these kinds back when it ended.
    ///
    /// # Panics
    /// If it has not, or did not end by itself.
    pub fn assert_nothing_left(&self, pid: u32, kinds: &[&str]) {
        let left = self.left_by(pid).expect("the process has ended by itself");
        for kind in kinds {
            assert_eq!(left.number(kind), 0, "{kind}: {left}");
        }
    }

    /// Commands the driver of a process, once that has called `cuInit`.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn control(&self, pid: u32) -> Control {
        needs_stand_in("work that waits until the test releases it");
        let path = self.path().join("control").join(pid.to_string());
        until_some("the driver listens", || Control::connect(&path))
    }
}

/// What a process has of the driver, apart from contexts: GStreamer's own plugin may keep some.
pub const OWNED: [&str; 5] = ["allocations", "handles", "mappings", "streams", "events"];

/// All that a process can have of the driver.
pub const ALL_OWNED: [&str; 7] = [
    "allocations",
    "handles",
    "mappings",
    "streams",
    "events",
    "contexts",
    "bytes",
];

/// Whether GStreamer has elements for CUDA memory. If not, it prints that the test is skipped.
pub fn gstreamer_has_cuda() -> bool {
    let has = registry().is_some();
    if !has {
        eprintln!("skipped: GStreamer has no cudaupload, which is in gstreamer1.0-plugins-bad");
    }
    has
}

/// A registry of GStreamer that was filled with the driver present, without which the plugin for
/// CUDA registers nothing.
fn registry() -> Option<&'static Path> {
    needs_stand_in("a registry of GStreamer that was made with it");
    static REGISTRY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        let directory = built::directory().with_file_name("tmp");
        fs::create_dir_all(&directory).expect("a directory beside that of the programs");
        let profile = built::directory();
        let profile = profile.file_name().unwrap_or_default().to_string_lossy();
        let registry = directory.join(format!("gst-registry-cuda-{profile}.bin"));
        let driver = FakeCuda::new();
        let mut inspect = Command::new("gst-inspect-1.0");
        set_environment(&mut inspect);
        driver.apply(&mut inspect);
        // A registry of an earlier run would keep a plugin without elements.
        let _ = fs::remove_file(&registry);
        inspect
            .arg("cudaupload")
            .env("GST_REGISTRY", &registry)
            .env("GST_REGISTRY_UPDATE", "yes");
        let output = inspect.output().expect("gst-inspect-1.0 starts");
        output.status.success().then_some(registry)
    });
    registry.as_deref()
}

/// Renames a function in a library, so that it is not found under its name any more. The table by
/// which the dynamic linker looks names up stays as it is: it leads to another name then.
fn rename(library: &mut [u8], function: &str) {
    let name = [b"\0", function.as_bytes(), b"\0"].concat();
    let found: Vec<_> = library
        .windows(name.len())
        .enumerate()
        .filter_map(|(at, window)| (window == name).then_some(at))
        .collect();
    assert!(!found.is_empty(), "the driver has no {function}");
    for at in found {
        library[at + 1..at + 3].copy_from_slice(b"xx");
    }
}
