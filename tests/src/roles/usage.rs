//! Clocks and the resource usage of this process.
#![allow(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::{Error, Result};
use crate::samples::numbers;

/// The resources that this process has used since it started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all threads, in µs.
    cpu_us: u64,
    /// Minor and major page faults of all threads.
    faults: u64,
}

impl Usage {
    /// Asks the kernel. A child calls this exactly twice, when its window opens and when it closes.
    /// The two calls are also the marks by which a trace of its system calls finds the window.
    pub fn now() -> Usage {
        let mut raw = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `raw` is a writable rusage, and the call writes to nothing else.
        let rc = unsafe { libc::getrusage(libc::RUSAGE_SELF, raw.as_mut_ptr()) };
        assert_eq!(
            rc, 0,
            "getrusage(RUSAGE_SELF) cannot fail with a valid pointer"
        );
        // SAFETY: rusage consists of integers only, for which the initial zeroes are valid, and the
        // call filled it in.
        let raw = unsafe { raw.assume_init() };
        let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        Usage {
            cpu_us: micros(raw.ru_utime) + micros(raw.ru_stime),
            faults: (raw.ru_minflt + raw.ru_majflt) as u64,
        }
    }

    /// The bill for `frames` frames since this moment.
    pub fn bill(self, frames: u64) -> Bill {
        let now = Usage::now();
        Bill {
            frames,
            cpu_us: now.cpu_us - self.cpu_us,
            faults: now.faults - self.faults,
        }
    }
}

/// The cost of the frames of a window for one process. The processes exchange it as text.
#[derive(Clone, Copy, Debug)]
pub struct Bill {
    /// Number of frames sent or received in the window.
    pub frames: u64,
    /// CPU time in µs.
    pub cpu_us: u64,
    /// Number of page faults.
    pub faults: u64,
}

impl Bill {
    /// CPU time per frame in µs.
    pub fn cpu_a_frame(&self) -> f64 {
        self.cpu_us as f64 / self.frames as f64
    }

    /// Page faults per frame.
    pub fn faults_a_frame(&self) -> f64 {
        self.faults as f64 / self.frames as f64
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.frames, self.cpu_us, self.faults)
    }
}

impl FromStr for Bill {
    type Err = Error;

    fn from_str(text: &str) -> Result<Bill> {
        let numbers: Vec<u64> = numbers(text)?;
        match numbers[..] {
            [0, ..] => Err("no frame passed in the window".into()),
            [frames, cpu_us, faults] => Ok(Bill {
                frames,
                cpu_us,
                faults,
            }),
            _ => Err(format!("{text:?} is not a bill").into()),
        }
    }
}
