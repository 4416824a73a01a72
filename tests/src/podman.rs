//! Containers of podman, made of the programs of this machine: they need no image.
//!
//! They need `XMEM_PODMAN` to be set (`make test-containers`), and a podman that can run a program.
//! A container has the `/usr` of the host, and a root directory of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use crate::client::ClientOrder;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::program;

/// The directories of a root that are taken from the host, unless they are links into `/usr`.
const OF_THE_HOST: [&str; 5] = ["usr", "bin", "lib", "lib64", "sbin"];

/// The maximum number of descriptors and threads of a container.
const LIMIT: u64 = 4096;

/// Podman, and a root directory for its containers.
#[derive(Debug)]
pub struct Podman {
    root: TempDir,
    runtime: Option<&'static str>,
    mounts: Vec<PathBuf>,
}

/// A running container. Dropping the value kills it.
#[derive(Debug)]
pub struct Running(String);

impl Podman {
    /// Checks whether containers can be run on this machine, and prints the reason if not.
    /// Containers can run the programs of the tests.
    pub fn new() -> Option<Podman> {
        if std::env::var_os("XMEM_PODMAN").is_none_or(|value| value.is_empty()) {
            eprintln!("not tried: make test-containers runs this with podman");
            return None;
        }
        let mut podman = Podman {
            root: TempDir::new().expect("a temporary directory"),
            runtime: None,
            mounts: vec!["/etc/ld.so.cache".into()],
        };
        for name in ["etc", "tmp", "proc", "sys", "dev", "run", "var", "mnt"] {
            fs::create_dir(podman.root.path().join(name)).expect("our directory");
        }
        for name in OF_THE_HOST {
            let (host, inside) = (Path::new("/").join(name), podman.root.path().join(name));
            match fs::read_link(&host) {
                Ok(target) => symlink(target, inside).expect("our directory"),
                Err(_) if host.is_dir() => podman.mounts.push(host),
                Err(_) => {}
            }
        }
        let programs = program::directory();
        podman.mounts.push(programs.clone());
        // For the registry of GStreamer.
        let registry = programs.with_file_name("tmp");
        fs::create_dir_all(&registry).expect("a directory beside that of the programs");
        podman.mounts.push(registry);
        let mut reason = String::new();
        // The default first; some runtimes do not work with the control groups of the machine.
        for runtime in [None, Some("crun"), Some("runc")] {
            podman.runtime = runtime;
            let mut probe = Command::new("test");
            probe.args(["-x", &program::path(ClientOrder::PROGRAM)]);
            let (mut command, _running) = podman.command(&probe, &[], Path::new("/tmp"));
            match command.output() {
                Ok(output) if output.status.success() => return Some(podman),
                Ok(output) => reason += &String::from_utf8_lossy(&output.stderr),
                Err(error) => reason = format!("podman: {error}"),
            }
        }
        eprintln!(
            "not tried: podman cannot run containers here: {}",
            reason.trim()
        );
        None
    }

    /// The command that runs `command` in a container, with more options. `directory` is mounted at
    /// `/mnt`, unless an option mounts it.
    pub fn command(
        &self,
        command: &Command,
        options: &[&str],
        directory: &Path,
    ) -> (Command, Running) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xmem-test-{}-{count}", std::process::id());
        let mut podman = Command::new("podman");
        podman.args(
            self.runtime
                .iter()
                .flat_map(|runtime| ["--runtime", runtime]),
        );
        podman.args([
            "run",
            "--rm",
            "--interactive",
            "--network=none",
            "--name",
            &name,
        ]);
        // The defaults of podman may be more than this process may set.
        for (name, resource) in [("nofile", Resource::Nofile), ("nproc", Resource::Nproc)] {
            let most = getrlimit(resource).maximum.unwrap_or(LIMIT).min(LIMIT);
            podman.arg(format!("--ulimit={name}={most}:{most}"));
        }
        for path in &self.mounts {
            let path = path.display();
            podman.arg(format!("--volume={path}:{path}:ro"));
        }
        if !options.iter().any(|option| option.contains(":/mnt")) {
            podman.arg(format!("--volume={}:/mnt", directory.display()));
        }
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
                podman.arg(format!("--env={name}={value}"));
            }
        }
        podman.args(options).arg("--rootfs").arg(self.root.path());
        podman.arg(command.get_program()).args(command.get_args());
        (podman, Running(name))
    }

    /// Starts a process in a container, with these settings.
    pub fn start<O: Order>(
        &self,
        options: &[&str],
        place: &Place,
        settings: &str,
    ) -> (Peer<O>, Running) {
        let command = Peer::<O>::command(settings);
        let (command, running) = self.command(&command, options, place.path());
        (Peer::spawn(command, place), running)
    }
}

impl Running {
    /// Kills the container.
    pub fn kill(&self) {
        let mut command = Command::new("podman");
        command.args(["kill", "--signal", "KILL", &self.0]);
        // The container may have ended by itself.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
