//! What publishing costs while clients sleep, beside as many bare `FUTEX_WAKE` calls.
//!
//! - `publish, N asleep`: `FrameMut::publish` with N clients that are asleep, each in a process of its
//!   own.
//! - `bare, N asleep`: N processes that sleep on a word each of one file, mapped shared, and one
//!   addition and one `FUTEX_WAKE` for each.
//!
//! A round begins when all of them are asleep.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use memmap2::{MmapOptions, MmapRaw};
use rustix::thread::futex::{self, Flags};
use xmem_core::{Channel, Publisher, Result, Subscriber};

use crate::SMALL;

/// Set for the other processes: the directory of the channel and of the words.
const DIRECTORY: &str = "XMEM_BENCH_SLEEPERS";
/// Set for those that sleep on a word: its number.
const WORD: &str = "XMEM_BENCH_WORD";
/// A word has a page of its own, as that of a client does.
const PAGE: usize = 4096;

fn channel(directory: &Path) -> Channel {
    Channel::path(directory.join("wake.sock"))
}

/// Words that several processes sleep on.
struct Words(MmapRaw);

impl Words {
    fn open(directory: &Path, count: usize) -> Words {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join("words"));
        let file = file.expect("a temporary directory");
        file.set_len((count * PAGE) as u64).expect("room");
        Words(MmapOptions::new().map_raw(&file).expect("a mapping"))
    }

    fn word(&self, number: usize) -> &AtomicU32 {
        let at = number * PAGE;
        assert!(at < self.0.len());
        // SAFETY: the word is inside of the mapping and aligned, and stays mapped as long as `self`
        // is borrowed. All processes access it as an atomic.
        unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().add(at).cast()) }
    }
}

/// The part of another process, if this is one.
pub(crate) fn other_process() -> Option<Result<()>> {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
    let Some(number) = std::env::var(WORD).ok() else {
        return Some(receive_all(&directory));
    };
    let number: usize = number.parse().expect("a number");
    let words = Words::open(&directory, number + 1);
    let word = words.word(number);
    // It is killed at the end.
    loop {
        let _ = futex::wait(word, Flags::empty(), word.load(Ordering::Acquire), None);
    }
}

fn receive_all(directory: &Path) -> Result<()> {
    let mut subscriber = Subscriber::builder(channel(directory)).connect()?;
    while subscriber.receive(None).is_ok() {}
    Ok(())
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

    /// Waits until all of them are asleep.
    fn settle(&self) {
        let is_asleep = |child: &Child| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
            stat.is_ok_and(|stat| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|it| it.starts_with('S'))
            })
        };
        // Some fall asleep only to be woken by what they wait for.
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

pub(crate) fn bench(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("wake");
    for count in [1, 4, 16, 64] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let words = Words::open(directory.path(), count);
        let sleepers = Sleepers::start(count, directory.path(), |number, command| {
            command.env(WORD, number.to_string());
        });
        group.bench_function(BenchmarkId::new("bare", format!("{count} asleep")), |it| {
            it.iter_custom(|rounds| {
                let round = |_| {
                    sleepers.settle();
                    let start = Instant::now();
                    for number in 0..count {
                        let word = words.word(number);
                        word.fetch_add(1, Ordering::Release);
                        futex::wake(word, Flags::empty(), 1).expect("a word of ours");
                    }
                    start.elapsed()
                };
                (0..rounds).map(round).sum()
            });
        });
        drop(sleepers);

        let publisher = Publisher::builder(channel(directory.path()));
        let publisher = publisher
            .max_clients(count as u32)
            .slot_size(SMALL)
            .open()?;
        let sleepers = Sleepers::start(count, directory.path(), |_, _| {});
        publisher.wait_for_clients(count, Some(Duration::from_secs(10)))?;
        group.bench_function(
            BenchmarkId::new("publish", format!("{count} asleep")),
            |it| {
                it.iter_custom(|rounds| {
                    let round = |_| {
                        sleepers.settle();
                        let frame = publisher.acquire(SMALL).expect("a slot");
                        let start = Instant::now();
                        frame.publish().expect("it is not closed");
                        start.elapsed()
                    };
                    (0..rounds).map(round).sum()
                });
            },
        );
    }
    group.finish();
    Ok(())
}
