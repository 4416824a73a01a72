//! Where the bench runs: the machine, GStreamer, the elements that are there, and the files of its own.

use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gst::prelude::*;
use tempfile::TempDir;

use crate::Result;
use crate::child::{Child, PATIENCE};
use crate::parent::tell;
use crate::plan::Kind;

/// The file name of the plugin under test.
const PLUGIN: &str = "libgstxmem.so";

/// What the children need, and what stands above the table.
pub struct Environment {
    executable: PathBuf,
    /// Sockets, traces, and a GStreamer registry of our own: the user's is neither read nor written.
    directory: TempDir,
    /// GST_PLUGIN_PATH of the children: the user's, else a directory with nothing but the plugin under test.
    plugin_path: Option<PathBuf>,
    gstreamer: String,
    kinds: Vec<Availability>,
    /// Whether strace is there and can trace.
    pub strace: bool,
}

/// Whether a kind's elements are there, and from where.
struct Availability {
    kind: Kind,
    /// The plugin file, or the element that is missing.
    origin: std::result::Result<String, String>,
}

impl Environment {
    /// Looks around, with the help of a child: its GStreamer is the one that will be measured.
    pub fn discover(kinds: &[Kind]) -> Result<Environment> {
        let executable = std::env::current_exe()?;
        let directory = tempfile::Builder::new().prefix("xmem-bench-").tempdir()?;
        let plugin_path = match std::env::var_os("GST_PLUGIN_PATH") {
            Some(path) => Some(path.into()),
            None => plugin_directory(&executable, directory.path())?,
        };
        let mut environment = Environment {
            executable,
            directory,
            plugin_path,
            gstreamer: String::new(),
            kinds: Vec::new(),
            strace: can_trace(),
        };
        environment.look_for(kinds)?;
        Ok(environment)
    }

    /// Asks a child for GStreamer's version and the elements of these kinds.
    fn look_for(&mut self, kinds: &[Kind]) -> Result<()> {
        let elements = kinds.iter().flat_map(|kind| kind.elements());
        let role: Vec<&str> = std::iter::once("probe").chain(elements).collect();
        let child = Child::spawn("the probe of GStreamer", self.role(&role))?;
        self.gstreamer = child.report("version", PATIENCE)?;
        for &kind in kinds {
            let mut origin = Ok(String::new());
            for element in kind.elements() {
                let file = child.report(element, PATIENCE)?;
                origin = origin.and(if file.is_empty() {
                    Err(element.to_owned())
                } else {
                    Ok(file)
                });
            }
            self.kinds.push(Availability { kind, origin });
        }
        child.end()
    }

    /// The kinds that can be measured.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds
            .iter()
            .filter(|kind| kind.origin.is_ok())
            .map(|kind| kind.kind)
    }

    /// Where files of a run go; removed at the end.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The command that runs a role of this executable.
    pub fn role(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(arguments)
            .env("GST_REGISTRY", self.directory().join("registry.bin"));
        command.envs(
            self.plugin_path
                .iter()
                .map(|path| ("GST_PLUGIN_PATH", path)),
        );
        command
    }
}

/// A directory with a link to the plugin that was built with this executable; `None` if it was not built.
///
/// Cargo leaves what it builds for `cargo bench` beside the executable, in `deps`, and what it builds for `cargo build`
/// in the directory above: the first can't be older than the bench.
fn plugin_directory(executable: &Path, directory: &Path) -> Result<Option<PathBuf>> {
    let built = executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(PLUGIN))
        .find(|file| file.exists());
    let Some(built) = built else { return Ok(None) };
    let plugins = directory.join("plugins");
    fs::create_dir(&plugins)?;
    symlink(built, plugins.join(PLUGIN))?;
    Ok(Some(plugins))
}

/// Whether strace can trace a process here; in some containers it is there and may not.
fn can_trace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "--", "true"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(
            f,
            "machine     {cores} cores, {}",
            model.map_or("of an unknown model", |(_, model)| model)
        )?;
        writeln!(
            f,
            "kernel      Linux {}",
            read("/proc/sys/kernel/osrelease").trim()
        )?;
        writeln!(f, "load        {}", read("/proc/loadavg").trim())?;
        writeln!(f, "GStreamer   {}", self.gstreamer)?;
        for Availability { kind, origin } in &self.kinds {
            match origin {
                Ok(file) => writeln!(f, "{kind:11} {file}")?,
                Err(element) => writeln!(
                    f,
                    "{kind:11} NOT MEASURED: there is no element {element} (build its plugin, or set GST_PLUGIN_PATH)"
                )?,
            }
        }
        match self.strace {
            true => writeln!(
                f,
                "system calls are counted in separate runs under strace -f"
            ),
            false => writeln!(
                f,
                "system calls are NOT COUNTED: strace is not there, or may not trace"
            ),
        }
    }
}

/// The role that looks: reports `version`, and for each element its name and its plugin's file, or nothing.
pub fn probe(elements: &[&str]) -> Result<()> {
    gst::init()?;
    tell("version", gst::version_string());
    for element in elements {
        let plugin = gst::ElementFactory::find(element).and_then(|factory| factory.plugin());
        let file = plugin
            .and_then(|plugin| plugin.filename())
            .unwrap_or_default();
        // A link of our own says less than where it leads.
        let file = fs::canonicalize(&file).unwrap_or(file);
        tell(element, file.display());
    }
    Ok(())
}
