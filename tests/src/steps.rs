//! A process that is run instruction by instruction, with `ptrace`.
//!
//! The process asks for that itself ([`stepped`]) and says with [`mark`] where the stretch that
//! matters begins and where it ends. Only its first thread is stepped; the others run.

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

/// In the process itself: from here on it stops at every [`mark`].
pub fn stepped() {
    ptrace::traceme().expect("a parent that steps");
}

/// In the process itself: here the stretch begins, or ends.
pub fn mark() {
    raise(Signal::SIGUSR1).expect("a signal to this process");
}

const WITHOUT_STRING_INSTRUCTIONS: &str = "glibc.cpu.x86_rep_stosb_threshold=1000000000:\
     glibc.cpu.x86_rep_movsb_threshold=1000000000";

/// A point of a stretch: after so many system calls, and so many instructions more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// System calls since the stretch began.
    pub calls: usize,
    /// Instructions since the last of these.
    pub instructions: usize,
}

/// The points of a stretch: of each system call, the instructions from the one before to it.
#[derive(Clone, Debug)]
pub struct Stretch(Vec<usize>);

impl Stretch {
    /// How many points there are.
    pub fn len(&self) -> usize {
        self.0.iter().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The points to try: forty, spread evenly, or all of them with `make torture`.
    pub fn tried(&self) -> Vec<Point> {
        let stride = match is_torture() {
            true => 1,
            false => self.len().div_ceil(40),
        };
        let first = (Random::new().number() % stride as u64) as usize;
        self.points(first, stride).collect()
    }

    /// Tells how many points were tried and reached.
    ///
    /// # Panics
    /// When too few were reached. A stretch that waits for another thread is longer in one run
    /// than in another.
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

    /// Every `stride`th point, from the `first` on.
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

/// A process whose first thread stands still at a point.
///
/// Dropping it kills it. Only the thread that started it can move it.
#[derive(Debug)]
pub struct Stepped {
    pid: Pid,
    /// Its standard output and input are its own.
    _process: Child,
    gone: bool,
}

impl Stepped {
    /// Starts a program, and lets it run to where its stretch begins.
    ///
    /// From here on it and the calling thread stay on one processor: they take turns, and waking
    /// another processor up for each instruction takes five times as long.
    pub fn start(program: &str, place: &Place, arguments: &str) -> Stepped {
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one).expect("this thread's processor");
        let process = Command::new(program)
            .args(arguments.split_whitespace())
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
        // The parent hears of the exec, too, where the process was traced before.
        assert!(
            !stepped.wait(),
            "{arguments}: it ended before its stretch began"
        );
        let options = ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD;
        ptrace::setoptions(stepped.pid, options).expect("a stopped child");
        stepped
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Runs the whole stretch, instruction by instruction, and tells its points.
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

    /// Lets it run to a point. False where the stretch ends before: it waits and computes a
    /// little more in one run than in another.
    pub fn run_to(&mut self, point: Point) -> bool {
        for _ in 0..2 * point.calls {
            // To the entry of the next system call, then to its exit.
            if !self.go(ptrace::syscall) {
                return false;
            }
        }
        (0..point.instructions).all(|_| self.step())
    }

    /// Lets it run to the end of its stretch, and on to its own end.
    pub fn run_out(&mut self) {
        while !self.gone {
            self.go(ptrace::cont);
        }
    }

    /// Stops its other threads, as `SIGSTOP` does; the first stands still as it is.
    pub fn freeze(&mut self) {
        kill(self.pid, Signal::SIGSTOP).expect("it is there");
        let stopped = || {
            process::thread_states(self.pid())
                .iter()
                .all(|state| "Tt".contains(*state))
        };
        assert!(
            comes_true(stopped),
            "it is not stopped: {:#?}",
            process::describe(self.pid())
        );
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be gone by itself.
        let _ = kill(self.pid, Signal::SIGKILL);
        while !self.gone {
            self.wait();
        }
    }

    /// One instruction. False at the end of the stretch.
    fn step(&mut self) -> bool {
        self.go(ptrace::step)
    }

    /// Lets it go on in a way, until it stops next. False at the end of the stretch.
    fn go(&mut self, way: fn(Pid, Option<Signal>) -> nix::Result<()>) -> bool {
        way(self.pid, None).expect("it stands still");
        self.wait()
    }

    /// Waits until it stops. False at a mark, and where it has ended.
    fn wait(&mut self) -> bool {
        match waitpid(self.pid, Some(WaitPidFlag::__WALL)).expect("it is a child") {
            WaitStatus::Stopped(_, Signal::SIGUSR1) => false,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.gone = true;
                false
            }
            _ => true,
        }
    }

    /// Whether its next instruction is a system call. Where that can't be told, every point is
    /// reached by instructions alone.
    #[cfg(not(target_arch = "x86_64"))]
    fn is_at_system_call(&self) -> bool {
        false
    }

    /// Whether its next instruction is a system call.
    #[cfg(target_arch = "x86_64")]
    fn is_at_system_call(&self) -> bool {
        let registers = ptrace::getregs(self.pid).expect("it stands still");
        let code = ptrace::read(self.pid, registers.rip as ptrace::AddressType);
        // `syscall` is 0f 05.
        code.is_ok_and(|code| code as u16 == 0x050f)
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.kill();
    }
}
