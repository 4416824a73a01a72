//! A process that is run instruction by instruction, with `ptrace`.
//!
//! The process requests that itself ([`stepped`]), and marks with [`mark`] the beginning and the
//! end of the stretch that is stepped. Only its first thread is stepped; the others run.

use std::process::{Child, Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::place::Place;
use crate::random::Random;
use crate::wait::comes_true;
use crate::{is_torture, process};

/// Called by the process: from here on it stops at every [`mark`].
pub fn stepped() {
    ptrace::traceme().expect("the parent traces this process");
}

/// Called by the process: the stretch begins or ends here.
pub fn mark() {
    raise(Signal::SIGUSR1).expect("a signal to this process");
}

const WITHOUT_STRING_INSTRUCTIONS: &str = "glibc.cpu.x86_rep_stosb_threshold=1000000000:\
     glibc.cpu.x86_rep_movsb_threshold=1000000000";

/// A point of a stretch: a number of system calls, and a number of instructions after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Number of system calls since the stretch began.
    pub calls: usize,
    /// Number of instructions since the last of these.
    pub instructions: usize,
}

/// The points of a stretch: for each system call, the number of instructions since the one before.
#[derive(Clone, Debug)]
pub struct Stretch(Vec<usize>);

impl Stretch {
    /// The number of points.
    pub fn len(&self) -> usize {
        self.0.iter().sum()
    }

    /// Whether the stretch has no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The points to try: forty, spread evenly, or all of them with `make torture`.
    pub fn tried(&self) -> Vec<Point> {
        self.tried_of(40)
    }

    /// As [`tried`](Stretch::tried), with another number than forty.
    pub fn tried_of(&self, count: usize) -> Vec<Point> {
        let stride = if is_torture() {
            1
        } else {
            self.len().div_ceil(count)
        };
        let first = (Random::new().number() % stride as u64) as usize;
        self.points(first, stride).collect()
    }

    /// Prints how many points were tried and reached.
    ///
    /// # Panics
    /// If too few were reached. A stretch that waits for another thread is longer in one run than
    /// in another.
    pub fn judge(&self, name: &str, tried: usize, reached: usize) {
        println!(
            "{name}: {tried} points of {} tried, {reached} reached",
            self.len()
        );
        assert!(
            reached * 4 >= tried * 3,
            "{name}: {reached} of {tried} points were reached"
        );
    }

    /// Every `stride`th point, starting with `first`.
    fn points(&self, first: usize, stride: usize) -> impl Iterator<Item = Point> + '_ {
        let all = self.0.iter().enumerate().flat_map(|(calls, &count)| {
            (0..count).map(move |instructions| Point {
                calls,
                instructions,
            })
        });
        all.skip(first).step_by(stride)
    }
}

/// A process whose first thread is stopped at a point.
///
/// Dropping the value kills the process. Only the thread that started it can move it.
#[derive(Debug)]
pub struct Stepped {
    pid: Pid,
    /// The standard output and input of the process stay open.
    _process: Child,
    gone: bool,
}

impl Stepped {
    /// Starts a program, and lets it run to the beginning of its stretch.
    ///
    /// From here on it and the calling thread stay on one processor: they alternate, and waking
    /// another processor for each instruction takes five times as long.
    pub fn start(program: &str, place: &Place, arguments: &str) -> Stepped {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        Stepped::start_with(command, place)
    }

    /// As [`start`](Stepped::start), with a command.
    pub fn start_with(mut command: Command, place: &Place) -> Stepped {
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one).expect("the processor of this thread can be set");
        let process = command
            .env("XMEM_RUNTIME_DIR", place.path())
            // Each repetition of a string instruction would be a step.
            .env("GLIBC_TUNABLES", WITHOUT_STRING_INSTRUCTIONS)
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut stepped = Stepped {
            pid: Pid::from_raw(process.id() as i32),
            _process: process,
            gone: false,
        };
        // The exec stops the process too, if it was traced before.
        assert!(
            !stepped.wait(),
            "{command:?}: it ended before its stretch began"
        );
        let options = ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD;
        ptrace::setoptions(stepped.pid, options).expect("a stopped child");
        stepped
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Runs the whole stretch, instruction by instruction, and returns its points.
    pub fn measure(&mut self) -> Stretch {
        let mut gaps = Vec::new();
        let mut instructions = 0;
        loop {
            instructions += 1;
            let calls = self.is_at_system_call();
            if !self.step() {
                gaps.push(instructions);
                return Stretch(gaps);
            }
            if calls {
                gaps.push(std::mem::take(&mut instructions));
            }
        }
    }

    /// Lets the process run to a point. Returns false if the stretch ends earlier: waits and
    /// computations are a little longer in one run than in another.
    pub fn run_to(&mut self, point: Point) -> bool {
        for _ in 0..2 * point.calls {
            // To the entry of the next system call, then to its exit.
            if !self.go(ptrace::syscall) {
                return false;
            }
        }
        (0..point.instructions).all(|_| self.step())
    }

    /// Lets the process run to the end of its stretch, and on to its own end.
    pub fn run_out(&mut self) {
        while !self.gone {
            self.go(ptrace::cont);
        }
    }

    /// Stops the other threads of the process with `SIGSTOP`; the first is stopped already.
    pub fn freeze(&mut self) {
        kill(self.pid, Signal::SIGSTOP).expect("the process exists");
        let stopped = || {
            process::thread_states(self.pid())
                .iter()
                .all(|state| "Tt".contains(*state))
        };
        assert!(
            comes_true(stopped),
            "the process is not stopped: {:#?}",
            process::describe(self.pid())
        );
    }

    /// Kills the process, and waits until it has ended.
    pub fn kill(&mut self) {
        // The process may have ended by itself.
        let _ = kill(self.pid, Signal::SIGKILL);
        while !self.gone {
            self.wait();
        }
    }

    /// Runs one instruction. Returns false at the end of the stretch.
    fn step(&mut self) -> bool {
        self.go(ptrace::step)
    }

    /// Continues the process with `way` until it stops again. Returns false at the end of the
    /// stretch.
    fn go(&mut self, way: fn(Pid, Option<Signal>) -> nix::Result<()>) -> bool {
        way(self.pid, None).expect("the process is stopped");
        self.wait()
    }

    /// Waits until the process stops. Returns false at a mark, and if the process has ended.
    fn wait(&mut self) -> bool {
        match waitpid(self.pid, Some(WaitPidFlag::__WALL)).expect("the process is a child") {
            WaitStatus::Stopped(_, Signal::SIGUSR1) => false,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.gone = true;
                false
            }
            _ => true,
        }
    }

    /// Whether the next instruction is a system call. On this architecture that is unknown, so
    /// every point is reached by instructions alone.
    #[cfg(not(target_arch = "x86_64"))]
    fn is_at_system_call(&self) -> bool {
        false
    }

    /// Whether the next instruction is a system call.
    #[cfg(target_arch = "x86_64")]
    fn is_at_system_call(&self) -> bool {
        let registers = ptrace::getregs(self.pid).expect("the process is stopped");
        let code = ptrace::read(self.pid, registers.rip as ptrace::AddressType);
        // `syscall` is encoded as 0f 05.
        code.is_ok_and(|code| code as u16 == 0x050f)
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.kill();
    }
}
