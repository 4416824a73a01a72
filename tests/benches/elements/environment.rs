//! Where the bench runs: the machine, GStreamer, the elements that are there, and the files of its own.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use xmem_tests::roles::Installation;

use crate::Result;
use crate::plan::Kind;

/// What the children need, and what stands above the table.
pub struct Environment {
    installation: Installation,
    kinds: Vec<Availability>,
    /// Whether strace is there and can trace.
    pub strace: bool,
}

/// Whether a kind's elements are there, and from where.
struct Availability {
    kind: Kind,
    /// The plugin file, or the element that is missing.
    origin: std::result::Result<String, &'static str>,
}

impl Environment {
    /// Looks around.
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

    /// The kinds that can be measured.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds
            .iter()
            .filter(|kind| kind.origin.is_ok())
            .map(|kind| kind.kind)
    }

    /// Where files of a run go; removed at the end.
    pub fn directory(&self) -> &Path {
        self.installation.directory()
    }

    /// The command that runs a role of this executable.
    pub fn role(&self, arguments: &[&str]) -> Command {
        self.installation.role(arguments)
    }
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
        write!(f, "{}", self.installation)?;
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
