//! Processes in namespaces of their own, as container runtimes create them.
//!
//! A [`Container`] has its own processes, mounts, network, IPC and host name, and optionally its
//! own users. A directory of the host is mounted in it, as `-v DIRECTORY:/mnt` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::client::ClientOrder;
use crate::control_group::Group;
use crate::order::Order;
use crate::program;

/// Number of users of a container that has its own.
const USERS: u32 = 65536;

/// The settings of a container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    is_read_only: bool,
    first_user: Option<u32>,
    user: u32,
    group: Option<(PathBuf, bool)>,
    prepare: String,
}

impl Container {
    /// The program runs as root of the container, which is root of the host.
    pub fn new() -> Container {
        Container::default()
    }

    /// Mounts the shared directory read-only: `-v DIRECTORY:/mnt:ro`.
    pub fn read_only(mut self) -> Container {
        self.is_read_only = true;
        self
    }

    /// Maps the users: root of the container is user `first` of the host. Other users of the host
    /// have no number in the container.
    pub fn users_from(mut self, first: u32) -> Container {
        self.first_user = Some(first);
        self
    }

    /// Sets the user that runs the program, by its number inside.
    pub fn user(mut self, user: u32) -> Container {
        self.user = user;
        self
    }

    /// The number of that user outside.
    pub fn user_outside(&self) -> u32 {
        self.first_user.unwrap_or(0) + self.user
    }

    /// Limits the container to a control group, which is the only one that it sees. In a cgroup
    /// namespace this group seems to be the root.
    pub fn group(mut self, group: &Group, namespace: bool) -> Container {
        self.group = Some((group.directory().into(), namespace));
        self
    }

    /// Runs shell commands inside, as root, before the program starts.
    pub fn prepare(mut self, script: &str) -> Container {
        self.prepare += script;
        self.prepare.push('\n');
        self
    }

    /// Whether this machine can create the container, and its user can start a client. Prints a
    /// message if not.
    pub fn is_possible(&self) -> bool {
        if !geteuid().is_root() {
            eprintln!("not tried: only root can give a container users of its own");
            return false;
        }
        let mut probe = Command::new("test");
        let program = program::path(ClientOrder::PROGRAM);
        probe.args(["-x", &program]);
        let status = self.wrap(&probe, Path::new("/tmp")).status();
        let is_possible = status.is_ok_and(|status| status.success());
        if !is_possible {
            eprintln!("not tried: no such container can run {program} here: {self:?}");
        }
        is_possible
    }

    /// The command that runs `command` in the container. `directory` is mounted at `/mnt`.
    pub fn wrap(&self, command: &Command, directory: &Path) -> Command {
        let mut wrapped = Command::new("sh");
        wrapped.args(["-ec", &self.outside(), "sh"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        // A script inside a script would need quoting.
        wrapped
            .env("SHARED_DIRECTORY", directory)
            .env("CONTAINER_USERS", self.users())
            .env("CONTAINER_INSIDE", self.inside());
        wrapped
    }

    /// The script on the host, up to `unshare`.
    fn outside(&self) -> String {
        let mut script = String::new();
        let mut namespaces = String::from("--mount --pid --net --ipc --uts");
        if let Some((directory, namespace)) = &self.group {
            script += &format!("echo $$ >{}/cgroup.procs\n", directory.display());
            namespaces += if *namespace { " --cgroup" } else { "" };
        }
        if let Some(first) = self.first_user {
            namespaces += " --user --keep-caps";
            // `unshare` will have the PID of this shell. Only a process outside the user namespace
            // may write its user mappings.
            script += &format!(
                "{{ until [ \"$(readlink /proc/$$/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]\n\
                   do sleep 0.01; done\n\
                   echo 0 {first} {USERS} >/proc/$$/gid_map\n\
                   echo 0 {first} {USERS} >/proc/$$/uid_map; }} </dev/null >/dev/null &\n"
            );
        }
        script += "exec unshare ";
        script += &namespaces;
        script += " --fork --kill-child sh -ec \"$CONTAINER_USERS\" sh \"$@\"\n";
        script
    }

    /// The script that becomes root of the container.
    fn users(&self) -> String {
        let mut script = String::from("exec ");
        if self.first_user.is_some() {
            script = "until grep -q . /proc/self/uid_map; do sleep 0.01; done\n".into();
            script += &as_user(0);
        }
        script += "sh -ec \"$CONTAINER_INSIDE\" sh \"$@\"\n";
        script
    }

    /// The script as root of the container: sets up what the container sees, then starts the
    /// program.
    fn inside(&self) -> String {
        let mut script = String::from("mount --bind \"$SHARED_DIRECTORY\" /mnt\n");
        if self.is_read_only {
            script += "mount -o remount,bind,ro /mnt\n";
        }
        script += "mount -t proc proc /proc\n";
        if let Some((directory, _)) = &self.group {
            let all = directory.parent().expect("the directory has a parent");
            let (directory, all) = (directory.display(), all.display());
            script += &format!("mount --bind {directory} {all}\n");
        }
        script += &self.prepare;
        script += "unset SHARED_DIRECTORY CONTAINER_USERS CONTAINER_INSIDE\n";
        script += &match self.user {
            0 => "exec ".into(),
            user => as_user(user),
        };
        script += "\"$@\"\n";
        script
    }
}

/// The start of a command that a user runs. A change of users resets the effect of `--kill-child`.
fn as_user(user: u32) -> String {
    format!("exec setpriv --reuid {user} --regid {user} --clear-groups --pdeathsig KILL ")
}
