//! Processes in namespaces of their own, as container runtimes make them.
//!
//! A [`Container`] has its own processes, mounts, network, IPC and host name, and its own users
//! where that is wanted. A directory of the host is mounted in it, as `-v DIRECTORY:/mnt` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::control_group::Group;
use crate::peer::Peer;
use crate::place::Place;

/// How many users a container has of its own.
const USERS: u32 = 65536;

/// How a container is made.
#[derive(Clone, Debug, Default)]
pub struct Container {
    is_read_only: bool,
    first_user: Option<u32>,
    user: u32,
    group: Option<(PathBuf, bool)>,
    prepare: String,
}

impl Container {
    /// The program runs as the container's root, which is the host's.
    pub fn new() -> Container {
        Container::default()
    }

    /// The shared directory can't be written: `-v DIRECTORY:/mnt:ro`.
    pub fn read_only(mut self) -> Container {
        self.is_read_only = true;
        self
    }

    /// Its users are others of the host: its root is the host's user `first`. The host's other users
    /// have no number in it.
    pub fn users_from(mut self, first: u32) -> Container {
        self.first_user = Some(first);
        self
    }

    /// The user that runs the program, by its number inside.
    pub fn user(mut self, user: u32) -> Container {
        self.user = user;
        self
    }

    /// The number that this user has outside.
    pub fn user_outside(&self) -> u32 {
        self.first_user.unwrap_or(0) + self.user
    }

    /// What it may use is that of a control group, which is all that it sees of them. In a namespace
    /// of control groups it seems to be the root of all.
    pub fn group(mut self, group: &Group, namespace: bool) -> Container {
        self.group = Some((group.directory().into(), namespace));
        self
    }

    /// Does something inside, as root, before the program starts: a shell's commands.
    pub fn prepare(mut self, script: &str) -> Container {
        self.prepare += script;
        self.prepare.push('\n');
        self
    }

    /// Whether such a container can be made here, and its user can start the program. Says so where
    /// not.
    pub fn is_possible(&self, program: &str) -> bool {
        if !geteuid().is_root() {
            eprintln!("not tried: only root can give a container users of its own");
            return false;
        }
        let mut probe = Command::new("test");
        probe.args(["-x", program]);
        let status = self.wrap(&probe, Path::new("/tmp")).status();
        let is_possible = status.is_ok_and(|status| status.success());
        if !is_possible {
            eprintln!("not tried: no such container can run {program} here: {self:?}");
        }
        is_possible
    }

    /// The command that runs `command` in it. `directory` is mounted at `/mnt`.
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
        // Scripts in a script would have to be quoted.
        wrapped
            .env("SHARED_DIRECTORY", directory)
            .env("CONTAINER_USERS", self.users())
            .env("CONTAINER_INSIDE", self.inside());
        wrapped
    }

    /// Starts a program in it, with the words of `arguments`. The directory of `place` is mounted at
    /// `/mnt`.
    pub fn start(&self, program: &str, place: &Place, arguments: &str) -> Peer {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        self.start_command(&command, place, arguments)
    }

    /// As [`start`](Container::start), but any command; `name` is for messages.
    pub fn start_command(&self, command: &Command, place: &Place, name: &str) -> Peer {
        Peer::spawn(self.wrap(command, place.path()), place, name)
    }

    /// On the host, up to `unshare`.
    fn outside(&self) -> String {
        let mut script = String::new();
        let mut namespaces = String::from("--mount --pid --net --ipc --uts");
        if let Some((directory, namespace)) = &self.group {
            script += &format!("echo $$ >{}/cgroup.procs\n", directory.display());
            namespaces += if *namespace { " --cgroup" } else { "" };
        }
        if let Some(first) = self.first_user {
            namespaces += " --user --keep-caps";
            // `unshare` will have this shell's number. Which users it has, only a process that is
            // not in its namespace may say.
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

    /// Becomes the container's root.
    fn users(&self) -> String {
        let mut script = String::from("exec ");
        if self.first_user.is_some() {
            script = "until grep -q . /proc/self/uid_map; do sleep 0.01; done\n".into();
            script += &as_user(0);
        }
        script += "sh -ec \"$CONTAINER_INSIDE\" sh \"$@\"\n";
        script
    }

    /// As the container's root: what it sees, and then the program.
    fn inside(&self) -> String {
        let mut script = String::from("mount --bind \"$SHARED_DIRECTORY\" /mnt\n");
        if self.is_read_only {
            script += "mount -o remount,bind,ro /mnt\n";
        }
        script += "mount -t proc proc /proc\n";
        if let Some((directory, _)) = &self.group {
            let all = directory.parent().expect("it is in one");
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

/// The start of a command that a user runs. A change of users would undo what `--kill-child` does.
fn as_user(user: u32) -> String {
    format!("exec setpriv --reuid {user} --regid {user} --clear-groups --pdeathsig KILL ")
}
