//! The environment of the bench: the machine, GStreamer, the available elements, and the directory
//! of the bench.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use xmem_tests::roles::Installation;

use crate::Result;
use crate::plan::Kind;

/// What the child processes need, and the lines above the table.
pub struct Environment {
    installation: Installation,
    kinds: Vec<Availability>,
    /// Whether strace is installed and may trace.
    pub strace: bool,
}

/// Whether the elements of a kind are installed, and from which file.
struct Availability {
    kind: Kind,
    /// The plugin file, or the name of the missing element.
    origin: std::result::Result<String, &'static str>,
}

impl Environment {
    /// Examines the environment.
    pub fn discover(kinds: &[Kind]) -> Result<Environment> {
        let elements: Vec<&str> = kinds.iter().flat_map(|kind| kind.elements()).collect();
        let installation = Installation::discover("xmem-bench-", &elements)?;
        let availability = |&kind: &Kind| Availability {
            kind,
            origin: installation.plugin_of(&kind.elements()),
        };
        Ok(Environment {
            kinds: kinds.iter().map(availability).collect(),
            strace: can_trace(),
            installation,
        })
    }

    /// The kinds whose elements are installed.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds
            .iter()
            .filter(|kind| kind.origin.is_ok())
            .map(|kind| kind.kind)
    }

    /// The directory for the files of a run. It is removed at the end.
    pub fn directory(&self) -> &Path {
        self.installation.directory()
    }

    /// The command that runs a role of this executable.
    pub fn role(&self, arguments: &[&str]) -> Command {
        self.installation.role(arguments)
    }
}

/// Whether strace can trace a process here. In some containers it is installed but may not trace.
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
        write!(f, "{}", self.installation)?;
        for Availability { kind, origin } in &self.kinds {
            match origin {
                Ok(file) => writeln!(f, "{kind:11} {file}")?,
                Err(element) => writeln!(
                    f,
                    "{kind:11} NOT MEASURED: no element {element} (build its plugin, or set \
                     GST_PLUGIN_PATH)"
                )?,
            }
        }
        if self.strace {
            writeln!(
                f,
                "system calls are counted in separate runs under strace -f"
            )
        } else {
            writeln!(
                f,
                "system calls are NOT COUNTED: strace is not installed, or may not trace"
            )
        }
    }
}
