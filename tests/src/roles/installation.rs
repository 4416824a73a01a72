//! The environment of the children: this executable, GStreamer and its plugins, and a directory for
//! their files.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use gst::prelude::*;
use tempfile::TempDir;

use super::Result;
use super::child::{Child, PATIENCE};
use super::machine::Machine;
use super::parent::tell;

/// The file name of the plugin under test.
const PLUGIN: &str = "libgstxmem.so";

/// What the children need, and the lines above the figures.
#[derive(Debug)]
pub struct Installation {
    executable: PathBuf,
    /// The directory for sockets, traces, and a GStreamer registry. The registry of the user is
    /// neither read nor written.
    directory: TempDir,
    /// GST_PLUGIN_PATH of the children: the one of the user, or else a directory with the plugin
    /// under test only.
    plugin_path: Option<PathBuf>,
    gstreamer: String,
    /// The plugin file of each installed element.
    elements: BTreeMap<String, String>,
}

impl Installation {
    /// Looks for these elements, in a child in the role `probe`: its GStreamer is the one that will
    /// be used. `prefix` is the start of the name of the directory.
    ///
    /// # Errors
    /// If no directory can be created, or the child does not answer.
    pub fn discover(prefix: &str, elements: &[&str]) -> Result<Installation> {
        let executable = std::env::current_exe()?;
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let plugin_path = match std::env::var_os("GST_PLUGIN_PATH") {
            Some(path) => Some(path.into()),
            None => plugin_directory(&executable, directory.path())?,
        };
        let mut installation = Installation {
            executable,
            directory,
            plugin_path,
            gstreamer: String::new(),
            elements: BTreeMap::new(),
        };
        let role: Vec<&str> = std::iter::once("probe")
            .chain(elements.iter().copied())
            .collect();
        let child = Child::spawn("the probe of GStreamer", installation.role(&role))?;
        installation.gstreamer = child.report("version", PATIENCE)?;
        for &element in elements {
            let file = child.report(element, PATIENCE)?;
            if !file.is_empty() {
                installation.elements.insert(element.to_owned(), file);
            }
        }
        child.end()?;
        Ok(installation)
    }

    /// The directory for the files of a run. It is removed at the end.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The version of GStreamer, as text.
    pub fn gstreamer(&self) -> &str {
        &self.gstreamer
    }

    /// The plugin file of these elements, which are of one plugin.
    ///
    /// # Errors
    /// The name of the missing element.
    pub fn plugin_of(
        &self,
        elements: &[&'static str],
    ) -> std::result::Result<String, &'static str> {
        let mut plugin = String::new();
        for &element in elements {
            plugin.clone_from(self.elements.get(element).ok_or(element)?);
        }
        Ok(plugin)
    }

    /// Whether this element is installed. It must be one of the elements that the installation was
    /// discovered with.
    pub fn has(&self, element: &str) -> bool {
        self.elements.contains_key(element)
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

/// A directory with a link to the plugin that was built with this executable; `None` if it was not
/// built.
///
/// Cargo puts what it builds for `cargo bench` beside the executable, in `deps`, and what it builds
/// for `cargo build` in the directory above. The plugin in `deps` cannot be older than the bench.
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

/// The machine, its kernel, its load, and GStreamer.
impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{Machine}")?;
        writeln!(f, "GStreamer   {}", self.gstreamer)
    }
}

/// The role that looks for elements. Reports `version`, and for each element its name and its
/// plugin file, if it is installed.
///
/// # Errors
/// If GStreamer cannot be initialised.
pub fn probe(elements: &[&str]) -> Result<()> {
    gst::init()?;
    tell("version", gst::version_string());
    for element in elements {
        let plugin = gst::ElementFactory::find(element).and_then(|factory| factory.plugin());
        let file = plugin
            .and_then(|plugin| plugin.filename())
            .unwrap_or_default();
        // The target of the link says more than the link.
        let file = fs::canonicalize(&file).unwrap_or(file);
        tell(element, file.display());
    }
    Ok(())
}
