//! System calls that a process can't make, as in a container: a seccomp filter answers them with an
//! error and the kernel never sees them.
//!
//! A default profile answers what it does not list with `EPERM` (docker) or `ENOSYS` (podman).
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;

/// A system call, or the part of its uses that one argument selects.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As people and error messages name it.
    pub name: &'static str,
    /// Its numbers, where libc chooses between several calls.
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

/// The calls that xmem makes and can be refused, one by one.
///
/// Some are refused only for an argument that is newer than the call.
pub mod calls {
    use super::Call;

    /// Memory for frames.
    pub const MEMFD_CREATE: Call = Call::new("memfd_create", &[libc::SYS_memfd_create]);
    /// The same, never executable: `MFD_NOEXEC_SEAL`, Linux 6.3.
    pub const MEMFD_NOEXEC: Call = MEMFD_CREATE.with_bits(1, 8, 8);
    /// `F_ADD_SEALS`.
    pub const ADD_SEALS: Call = FCNTL.with(1, libc::F_ADD_SEALS as u32);
    /// `F_GET_SEALS`.
    pub const GET_SEALS: Call = FCNTL.with(1, libc::F_GET_SEALS as u32);
    const FCNTL: Call = Call::new("fcntl", &[libc::SYS_fcntl]);
    /// The size of a memfd.
    pub const FTRUNCATE: Call = Call::new("ftruncate", &[libc::SYS_ftruncate]);
    /// Memory for the holes of a memfd that another element has made.
    pub const FALLOCATE: Call = Call::new("fallocate", &[libc::SYS_fallocate]);
    /// Where a memfd has a hole.
    pub const LSEEK: Call = Call::new("lseek", &[libc::SYS_lseek]);
    /// What a descriptor of another element is.
    pub const FSTATFS: Call = Call::new("fstatfs", &[libc::SYS_fstatfs]);
    /// All advice about memory.
    pub const MADVISE: Call = Call::new("madvise", &[libc::SYS_madvise]);
    /// `MADV_POPULATE_READ`, Linux 5.14.
    pub const POPULATE_READ: Call = MADVISE.with(2, libc::MADV_POPULATE_READ as u32);
    /// `MADV_POPULATE_WRITE`, Linux 5.14.
    pub const POPULATE_WRITE: Call = MADVISE.with(2, libc::MADV_POPULATE_WRITE as u32);
    /// `MADV_WIPEONFORK`, Linux 4.14.
    pub const WIPE_ON_FORK: Call = MADVISE.with(2, libc::MADV_WIPEONFORK as u32);
    /// Several words in one wait, Linux 5.16.
    pub const FUTEX_WAITV: Call = Call::new("futex_waitv", &[libc::SYS_futex_waitv]);
    /// Ends a `poll`.
    pub const EVENTFD: Call = Call::new("eventfd", &[libc::SYS_eventfd2]);
    /// Tells of names in a directory.
    pub const INOTIFY_INIT: Call = Call::new("inotify_init1", &[libc::SYS_inotify_init1]);
    /// The same, in one directory.
    pub const INOTIFY_ADD: Call = Call::new("inotify_add_watch", &[libc::SYS_inotify_add_watch]);
    /// A descriptor of a process, by number; Linux 5.3.
    pub const PIDFD_OPEN: Call = Call::new("pidfd_open", &[libc::SYS_pidfd_open]);
    /// `SO_PEERPIDFD`, Linux 6.5.
    pub const PEER_PIDFD: Call = GETSOCKOPT.with(2, 77);
    /// All that a socket tells.
    pub const GETSOCKOPT: Call = Call::new("getsockopt", &[libc::SYS_getsockopt]);
    /// All that is set of a socket.
    pub const SETSOCKOPT: Call = Call::new("setsockopt", &[libc::SYS_setsockopt]);
    /// `SO_SNDBUF`: how much is sent ahead.
    pub const SEND_BUFFER: Call = SETSOCKOPT.with(2, libc::SO_SNDBUF as u32);
    /// Keeps memory from being paged out.
    pub const MLOCK: Call = Call::new("mlock", &[libc::SYS_mlock]);
    /// How a thread is scheduled.
    pub const SCHED_GETATTR: Call = Call::new("sched_getattr", &[libc::SYS_sched_getattr]);
    /// The same, set.
    pub const SCHED_SETATTR: Call = Call::new("sched_setattr", &[libc::SYS_sched_setattr]);
    /// A lock on a file.
    pub const FLOCK: Call = Call::new("flock", &[libc::SYS_flock]);
    /// Another name for a file, where that is free.
    pub const RENAMEAT2: Call = Call::new("renameat2", &[libc::SYS_renameat2]);
    /// A second name of a file.
    pub const LINK: Call = Call::new("link", &[libc::SYS_linkat]);
    /// A process's limits.
    pub const PRLIMIT: Call = Call::new("prlimit64", &[libc::SYS_prlimit64]);
    /// What is known of a file.
    pub const STATX: Call = Call::new("statx", &[libc::SYS_statx]);
    /// Random bytes.
    pub const GETRANDOM: Call = Call::new("getrandom", &[libc::SYS_getrandom]);
    /// The names in a directory.
    pub const GETDENTS: Call = Call::new("getdents64", &[libc::SYS_getdents64]);
    /// Whether a process lives.
    pub const KILL: Call = Call::new("kill", &[libc::SYS_kill]);
    /// A thread, Linux 5.3.
    pub const CLONE3: Call = Call::new("clone3", &[libc::SYS_clone3]);
    /// A socket.
    pub const SOCKET: Call = Call::new("socket", &[libc::SYS_socket]);
    /// A socket's name.
    pub const BIND: Call = Call::new("bind", &[libc::SYS_bind]);
    /// Takes connections.
    pub const LISTEN: Call = Call::new("listen", &[libc::SYS_listen]);
    /// Takes a connection.
    pub const ACCEPT: Call = Call::new("accept4", &[libc::SYS_accept4]);
    /// Makes a connection.
    pub const CONNECT: Call = Call::new("connect", &[libc::SYS_connect]);
    /// Waits for descriptors.
    pub const PPOLL: Call = Call::new("ppoll", &[libc::SYS_ppoll]);
}

/// Has the program that `command` starts get `answer` in place of `calls`, and all that it starts.
pub fn refuse(command: &mut Command, calls: &[Call], answer: Errno) {
    let program = program(calls, answer);
    // SAFETY: between `fork` and `exec` only `install` runs: it makes two system calls with memory
    // that was allocated before, and neither allocates nor takes a lock.
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

/// Where `seccomp_data` has the call's number, and its arguments of 64 bits.
const NUMBER_AT: u32 = 0;
const ARGUMENTS_AT: u32 = 16;

/// The filter as the kernel wants it: a few instructions for each number.
fn program(calls: &[Call], answer: Errno) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // Jumps over so many instructions where the loaded value is another one.
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
                    // The lower half, which comes first.
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

/// Puts the calling thread, and all that it starts, under a filter.
fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // Else it takes CAP_SYS_ADMIN.
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

    /// What `cat FILE` says under a filter.
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
        // Not even its libraries.
        let says = cat("/dev/null", &read, Errno::NOSYS);
        assert!(says.contains("error while loading"), "{says}");
    }

    #[test]
    fn a_call_is_refused_where_its_argument_says_so() {
        // Output, of which there is none but to standard error.
        let says = |number| {
            let write = Call::new("write", &[libc::SYS_write]).with(0, number);
            cat("/proc/self/comm", &[write], Errno::PERM)
        };
        assert!(says(1).contains("not permitted"), "{}", says(1));
        assert_eq!(says(2), "");
    }
}
