//! The cost of publishing while clients sleep, compared with as many bare `FUTEX_WAKE` calls.
//!
//! - `publish, N asleep`: `FrameMut::publish` with N clients that sleep, each in a process of its
//!   own.
//! - `bare, N asleep`: N processes that each sleep on a word in one file, mapped shared, and one
//!   addition and one `FUTEX_WAKE` for each.
//!
//! A round begins when all of them sleep. If there are fewer processors than processes, the woken
//! processes keep the waking thread from running, and clients do more than processes that sleep on
//! a bare word. The processor time of the thread is without that.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use rustix::thread::futex::{self, Flags};
use rustix::time::{ClockId, clock_gettime};
use xmem_core::{Channel, Publisher, Result, Subscriber};

use crate::SMALL;

/// Set for the other processes: the directory of the channel and of the words.
const DIRECTORY: &str = "XMEM_BENCH_SLEEPERS";
/// Set for processes that sleep on a word: the number of the word.
const WORD: &str = "XMEM_BENCH_WORD";
/// Each word has a page of its own, like that of a client.
const PAGE: usize = 4096;

fn channel(directory: &Path) -> Channel {
    Channel::path(directory.join("wake.sock"))
}

/// Words that several processes sleep on.
struct Words(MmapRaw);

impl Words {
    /// Creates `count` words.
    fn create(directory: &Path, count: usize) -> Words {
        let file = File::create(directory.join("words")).expect("a temporary directory");
        file.set_len((count * PAGE) as u64)
            .expect("there is enough space");
        Words::open(directory)
    }

    fn open(directory: &Path) -> Words {
        let mut options = File::options();
        let file = options.read(true).write(true).open(directory.join("words"));
        let file = file.expect("a file of words");
        Words(MmapOptions::new().map_raw(&file).expect("a mapping"))
    }

    fn word(&self, number: usize) -> &AtomicU32 {
        let at = number * PAGE;
        assert!(at < self.0.len());
        // SAFETY: the word lies inside the mapping and is aligned, and stays mapped as long as
        // `self` is borrowed. All processes access it as an atomic.
        unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().add(at).cast()) }
    }
}

/// Runs the role of another process, if this process is one.
pub(crate) fn other_process() -> Option<Result<()>> {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
    let Some(number) = std::env::var(WORD).ok() else {
        return Some(receive_all(&directory));
    };
    let number: usize = number.parse().expect("a number");
    let words = Words::open(&directory);
    let word = words.word(number);
    // The process is killed at the end.
    loop {
        let _ = futex::wait(word, Flags::empty(), word.load(Ordering::Acquire), None);
    }
}

fn receive_all(directory: &Path) -> Result<()> {
    let mut subscriber = Subscriber::builder(channel(directory)).connect()?;
    while subscriber.receive(None).is_ok() {}
    Ok(())
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processes that sleep most of the time, and are killed at the end.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(count: usize, directory: &Path, settings: impl Fn(usize, &mut Command)) -> Sleepers {
        let program = std::env::current_exe().expect("this program has a path");
        let start = |number| {
            let mut command = Command::new(&program);
            command.env(DIRECTORY, directory);
            settings(number, &mut command);
            command.spawn().expect("this program starts again")
        };
        Sleepers((0..count).map(start).collect())
    }

    /// Waits until all of them sleep.
    ///
    /// # Panics
    /// If one has ended.
    fn settle(&self) {
        let is_asleep = |child: &Child| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
            let stat = stat.expect("it runs");
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            assert!(state != Some('Z'), "another process has ended");
            state == Some('S')
        };
        // Some fall asleep and are then woken by an event that they wait for.
        for _ in 0..3 {
            while !self.0.iter().all(is_asleep) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Number of rounds of each kind.
const ROUNDS: usize = 400;

/// The clock time and processor time of `work`, in microseconds.
fn measure(work: impl FnOnce()) -> [f64; 2] {
    let start = (Instant::now(), processor_time());
    work();
    let took = [start.0.elapsed(), processor_time() - start.1];
    took.map(|time| time.as_secs_f64() * 1e6)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The kinds of rounds alternate, so that other work of the machine affects both.
pub(crate) fn bench() -> Result<()> {
    println!(
        "wake, medians in µs       bare: clock, cpu    publish: clock, cpu    ratio: clock, cpu"
    );
    for count in [1, 4, 16, 64] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let words = Words::create(directory.path(), count);
        let bare = Sleepers::start(count, directory.path(), |number, command| {
            command.env(WORD, number.to_string());
        });
        let publisher = Publisher::builder(channel(directory.path()));
        let publisher = publisher
            .max_clients(count as u32)
            .slot_size(SMALL)
            .open()?;
        let clients = Sleepers::start(count, directory.path(), |_, _| {});
        publisher.wait_for_clients(count, Some(Duration::from_secs(10)))?;
        let mut taken = [(); 4].map(|()| Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            bare.settle();
            clients.settle();
            let bare = measure(|| {
                for number in 0..count {
                    let word = words.word(number);
                    word.fetch_add(1, Ordering::Release);
                    futex::wake(word, Flags::empty(), 1).expect("the word is mapped");
                }
            });
            let frame = publisher.acquire(SMALL)?;
            clients.settle();
            let publish = measure(|| drop(frame.publish().expect("the channel is open")));
            let figures = bare.into_iter().chain(publish);
            taken
                .iter_mut()
                .zip(figures)
                .for_each(|(all, one)| all.push(one));
        }
        let [clock, cpu, publish_clock, publish_cpu] = taken.map(median);
        println!(
            "{count:3} asleep {clock:20.1} {cpu:6.1} {publish_clock:16.1} {publish_cpu:6.1} {:15.2} \
             {:6.2}",
            publish_clock / clock,
            publish_cpu / cpu
        );
    }
    Ok(())
}
