//! System calls that a process is not allowed to make, as in a container: a seccomp filter answers
//! them with an error, and the kernel does not execute them.
//!
//! A default profile answers calls that it does not list with `EPERM` (docker) or `ENOSYS`
//! (podman).
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;

/// A system call, or those of its uses that one argument selects.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The name of the call in documents and error messages.
    pub name: &'static str,
    /// The numbers of the call; several if libc chooses between them.
    numbers: &'static [libc::c_long],
    argument: Option<Argument>,
}

/// Selects the uses whose argument number `index` has the bits `value` under `mask`.
#[derive(Clone, Copy, Debug)]
struct Argument {
    index: u32,
    mask: u32,
    value: u32,
}

impl Call {
    /// All uses of the calls with these numbers.
    pub const fn new(name: &'static str, numbers: &'static [libc::c_long]) -> Call {
        Call {
            name,
            numbers,
            argument: None,
        }
    }

    /// Only the uses whose argument number `index`, counted from 0, is `value`.
    pub const fn with(self, index: u32, value: u32) -> Call {
        self.with_bits(index, u32::MAX, value)
    }

    /// Only the uses whose argument number `index`, counted from 0, is `value` under `mask`.
    pub const fn with_bits(self, index: u32, mask: u32, value: u32) -> Call {
        let argument = Some(Argument { index, mask, value });
        Call { argument, ..self }
    }
}

/// The system calls that xmem makes and that can be refused one by one.
///
/// Some are refused only for an argument that is newer than the call.
pub mod calls {
    use super::Call;

    /// Creates memory for frames.
    pub const MEMFD_CREATE: Call = Call::new("memfd_create", &[libc::SYS_memfd_create]);
    /// Creates memory that is never executable: `MFD_NOEXEC_SEAL`, Linux 6.3.
    pub const MEMFD_NOEXEC: Call = MEMFD_CREATE.with_bits(1, 8, 8);
    /// `F_ADD_SEALS`.
    pub const ADD_SEALS: Call = FCNTL.with(1, libc::F_ADD_SEALS as u32);
    /// `F_GET_SEALS`.
    pub const GET_SEALS: Call = FCNTL.with(1, libc::F_GET_SEALS as u32);
    const FCNTL: Call = Call::new("fcntl", &[libc::SYS_fcntl]);
    /// Sets the size of a memfd.
    pub const FTRUNCATE: Call = Call::new("ftruncate", &[libc::SYS_ftruncate]);
    /// Allocates memory for the holes of a memfd that another element has made.
    pub const FALLOCATE: Call = Call::new("fallocate", &[libc::SYS_fallocate]);
    /// Finds holes of a memfd.
    pub const LSEEK: Call = Call::new("lseek", &[libc::SYS_lseek]);
    /// Tells the kind of a descriptor of another element.
    pub const FSTATFS: Call = Call::new("fstatfs", &[libc::SYS_fstatfs]);
    /// All advice about memory.
    pub const MADVISE: Call = Call::new("madvise", &[libc::SYS_madvise]);
    /// `MADV_POPULATE_READ`, Linux 5.14.
    pub const POPULATE_READ: Call = MADVISE.with(2, libc::MADV_POPULATE_READ as u32);
    /// `MADV_POPULATE_WRITE`, Linux 5.14.
    pub const POPULATE_WRITE: Call = MADVISE.with(2, libc::MADV_POPULATE_WRITE as u32);
    /// `MADV_WIPEONFORK`, Linux 4.14.
    pub const WIPE_ON_FORK: Call = MADVISE.with(2, libc::MADV_WIPEONFORK as u32);
    /// Waits for several words, Linux 5.16.
    pub const FUTEX_WAITV: Call = Call::new("futex_waitv", &[libc::SYS_futex_waitv]);
    /// Creates a descriptor that ends a `poll`.
    pub const EVENTFD: Call = Call::new("eventfd", &[libc::SYS_eventfd2]);
    /// Creates a descriptor that reports names in directories.
    pub const INOTIFY_INIT: Call = Call::new("inotify_init1", &[libc::SYS_inotify_init1]);
    /// Watches one directory.
    pub const INOTIFY_ADD: Call = Call::new("inotify_add_watch", &[libc::SYS_inotify_add_watch]);
    /// Opens a descriptor of a process by its ID, Linux 5.3.
    pub const PIDFD_OPEN: Call = Call::new("pidfd_open", &[libc::SYS_pidfd_open]);
    /// `SO_PEERPIDFD`, Linux 6.5.
    pub const PEER_PIDFD: Call = GETSOCKOPT.with(2, 77);
    /// All reads of socket options.
    pub const GETSOCKOPT: Call = Call::new("getsockopt", &[libc::SYS_getsockopt]);
    /// All writes of socket options.
    pub const SETSOCKOPT: Call = Call::new("setsockopt", &[libc::SYS_setsockopt]);
    /// `SO_SNDBUF`: how much can be sent ahead.
    pub const SEND_BUFFER: Call = SETSOCKOPT.with(2, libc::SO_SNDBUF as u32);
    /// Keeps memory from being paged out.
    pub const MLOCK: Call = Call::new("mlock", &[libc::SYS_mlock]);
    /// Reads the scheduling of a thread.
    pub const SCHED_GETATTR: Call = Call::new("sched_getattr", &[libc::SYS_sched_getattr]);
    /// Sets the scheduling of a thread.
    pub const SCHED_SETATTR: Call = Call::new("sched_setattr", &[libc::SYS_sched_setattr]);
    /// Locks a file.
    pub const FLOCK: Call = Call::new("flock", &[libc::SYS_flock]);
    /// Renames a file if the new name is free.
    pub const RENAMEAT2: Call = Call::new("renameat2", &[libc::SYS_renameat2]);
    /// Adds a second name to a file.
    pub const LINK: Call = Call::new("link", &[libc::SYS_linkat]);
    /// Reads or sets a limit of a process.
    pub const PRLIMIT: Call = Call::new("prlimit64", &[libc::SYS_prlimit64]);
    /// Reads the attributes of a file.
    pub const STATX: Call = Call::new("statx", &[libc::SYS_statx]);
    /// Gets random bytes.
    pub const GETRANDOM: Call = Call::new("getrandom", &[libc::SYS_getrandom]);
    /// Reads the names in a directory.
    pub const GETDENTS: Call = Call::new("getdents64", &[libc::SYS_getdents64]);
    /// Checks whether a process exists.
    pub const KILL: Call = Call::new("kill", &[libc::SYS_kill]);
    /// Starts a thread, Linux 5.3.
    pub const CLONE3: Call = Call::new("clone3", &[libc::SYS_clone3]);
    /// Creates a socket.
    pub const SOCKET: Call = Call::new("socket", &[libc::SYS_socket]);
    /// Names a socket.
    pub const BIND: Call = Call::new("bind", &[libc::SYS_bind]);
    /// Makes a socket accept connections.
    pub const LISTEN: Call = Call::new("listen", &[libc::SYS_listen]);
    /// Accepts a connection.
    pub const ACCEPT: Call = Call::new("accept4", &[libc::SYS_accept4]);
    /// Opens a connection.
    pub const CONNECT: Call = Call::new("connect", &[libc::SYS_connect]);
    /// Waits for descriptors.
    pub const PPOLL: Call = Call::new("ppoll", &[libc::SYS_ppoll]);
}

/// Makes the program that `command` starts, and all that it starts, get `answer` instead of
/// `calls`.
pub fn refuse(command: &mut Command, calls: &[Call], answer: Errno) {
    let program = program(calls, answer);
    // SAFETY: between `fork` and `exec` only `install` runs. It makes two system calls with memory
    // that was allocated before, and it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || install(&program)) };
}

/// `BPF_LD | BPF_W | BPF_ABS`: loads 32 bits of `seccomp_data`.
const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// `BPF_RET | BPF_K`.
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The offsets in `seccomp_data` of the number of the call, and of its arguments of 64 bits.
const NUMBER_AT: u32 = 0;
const ARGUMENTS_AT: u32 = 16;

/// The filter program: a few instructions for each number.
fn program(calls: &[Call], answer: Errno) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // Skips `skip` instructions if the loaded value is not `value`.
    let unless = |value: u32, skip: u8| libc::sock_filter {
        jf: skip,
        ..instruction(JUMP_IF_EQUAL, value)
    };
    let refused = libc::SECCOMP_RET_ERRNO | answer.raw_os_error() as u32;
    let mut program = Vec::new();
    for call in calls {
        for &number in call.numbers {
            program.push(instruction(LOAD, NUMBER_AT));
            match call.argument {
                None => program.push(unless(number as u32, 1)),
                Some(argument) => program.extend([
                    unless(number as u32, 4),
                    // Loads the lower half of the argument, which comes first.
                    instruction(LOAD, ARGUMENTS_AT + 8 * argument.index),
                    instruction(AND, argument.mask),
                    unless(argument.value, 1),
                ]),
            }
            program.push(instruction(RETURN, refused));
        }
    }
    program.push(instruction(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// Installs a filter for the calling thread and all that it starts.
fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // Without this, the filter would need CAP_SYS_ADMIN.
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel reads `len` instructions at `filter`, which are borrowed, and copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of `cat FILE` under a filter.
    fn cat(file: &str, calls: &[Call], answer: Errno) -> String {
        let mut command = Command::new("cat");
        refuse(command.arg(file).env("LC_ALL", "C"), calls, answer);
        let output = command.output().expect("cat starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn a_call_is_refused_and_others_are_not() {
        let execute = Call::new("execveat", &[libc::SYS_execveat]);
        assert_eq!(cat("/dev/null", &[execute], Errno::NOSYS), "");
        let read = [execute, Call::new("read", &[libc::SYS_read])];
        // The program cannot read even its libraries.
        let says = cat("/dev/null", &read, Errno::NOSYS);
        assert!(says.contains("error while loading"), "{says}");
    }

    #[test]
    fn a_call_is_refused_for_one_value_of_an_argument() {
        // The output is empty except for standard error.
        let says = |number| {
            let write = Call::new("write", &[libc::SYS_write]).with(0, number);
            cat("/proc/self/comm", &[write], Errno::PERM)
        };
        assert!(says(1).contains("not permitted"), "{}", says(1));
        assert_eq!(says(2), "");
    }
}
