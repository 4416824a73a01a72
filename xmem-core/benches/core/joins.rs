//! The first second of a client, and its effect on other clients.
//!
//! ```text
//! cargo bench -p xmem-core -- joins        this alone, about a minute
//! ```
//!
//! One process publishes 60 frames per second, each as large as 1920x1080 NV12 and written whole.
//! One client is connected from the start. Then four others connect at once, and request more
//! leases and a longer backlog. All of them are processes.
//!
//! A latency is the time from before `publish` to the return of `receive`. Latencies of a joining
//! client are those of the first 60 frames that are published after `connect` has returned. `first`
//! is the time from that return to the first frame that the client receives, which in most cases
//! was published before. `steady` is measured later, when no client joins. `producer` is the time
//! of `acquire`. Each figure is the median of the rounds.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec};
use xmem_core::{Channel, Publisher, Quota, Result, Subscriber};

use crate::{now, pts, set_pts};

/// Set for the clients: the directory of the channel.
const DIRECTORY: &str = "XMEM_BENCH_JOINS";

/// The size of a frame in bytes.
const SIZE: usize = 1920 * 1080 * 3 / 2;
/// Nanoseconds between two frames.
const PERIOD: u64 = 1_000_000_000 / 60;
/// Number of clients that join.
const JOINING: usize = 4;
/// The leases at the start, and the quota that is requested then.
const LEASES: u32 = 5;
const QUOTA: Quota = Quota {
    leases: 10,
    backlog: 16,
};
/// The frame after which they join, the number of their first frames, the first frame of the steady
/// state, and the number of all frames.
const JOIN: u64 = 60;
const FIRST: usize = 60;
const STEADY: u64 = 180;
const FRAMES: u64 = 360;
const ROUNDS: usize = 7;

fn channel(directory: &Path) -> Channel {
    Channel::path(directory.join("joins.sock"))
}

/// Runs the role of a client, if this process is one.
pub(crate) fn other_process() -> Option<Result<()>> {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
    Some(receive_all(&directory))
}

/// Receives all frames after the order to do so, and reports when each was published and received.
fn receive_all(directory: &Path) -> Result<()> {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).expect("a line");
    let mut times = Vec::with_capacity(FRAMES as usize);
    let mut subscriber = Subscriber::builder(channel(directory))
        .leases(LEASES)
        .connect()?;
    let joined = now();
    subscriber.upstream().request(QUOTA)?;
    while let Ok(frame) = subscriber.receive(None) {
        times.push((frame.seq(), pts(&frame), now()));
    }
    let mut report = format!("{joined} {}\n", subscriber.missed());
    for (position, published, received) in times {
        report += &format!("{position} {published} {received}\n");
    }
    std::io::stdout()
        .write_all(report.as_bytes())
        .expect("the producer reads the report");
    Ok(())
}

/// A client.
struct Client {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Client {
    fn start(directory: &Path) -> Client {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let orders = child.stdin.take();
        Client { child, orders }
    }

    fn join(&mut self) {
        let mut orders = self.orders.take().expect("the client has not joined yet");
        orders.write_all(b"join\n").expect("it runs");
    }

    fn report(&mut self) -> Report {
        let output = self.child.stdout.take().expect("the output is piped");
        let numbers = |line: std::io::Result<String>| -> Vec<u64> {
            let line = line.expect("text");
            line.split(' ')
                .map(|number| number.parse().expect("a number"))
                .collect()
        };
        let mut lines = BufReader::new(output).lines().map(numbers);
        let head = lines.next().expect("a report");
        Report {
            joined: head[0],
            missed: head[1],
            frames: lines.map(|line| [line[0], line[1], line[2]]).collect(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The frames that a client has received.
struct Report {
    joined: u64,
    missed: u64,
    /// The position, and the times when it was published and received.
    frames: Vec<[u64; 3]>,
}

impl Report {
    fn latencies(&self, which: impl Fn(u64, u64) -> bool) -> impl Iterator<Item = u64> {
        let frames = self.frames.iter();
        let frames = frames.filter(move |[position, published, _]| which(*position, *published));
        frames.map(|[_, published, received]| received - published)
    }
}

/// Percentiles of a round, in microseconds.
fn percentiles(mut times: Vec<u64>) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| {
        let at = (times.len() as f64 * share).ceil() as usize;
        times[at.max(1) - 1] as f64 / 1e3
    })
}

/// Publishes all frames, and makes the others join. Returns the time of each `acquire`.
fn publish(publisher: &Publisher, clients: &mut [Client]) -> Result<Vec<u64>> {
    let picture = vec![7; SIZE];
    let mut taken = Vec::with_capacity(FRAMES as usize);
    let mut due = now();
    for position in 0..FRAMES {
        due += PERIOD;
        let time = Timespec {
            tv_sec: (due / 1_000_000_000) as i64,
            tv_nsec: (due % 1_000_000_000) as i64,
        };
        while clock_nanosleep_absolute(ClockId::Monotonic, &time).is_err() {}
        let start = now();
        let mut frame = publisher.acquire(SIZE)?;
        taken.push(now() - start);
        frame.payload()?.write(0, &picture);
        set_pts(&mut frame, now());
        frame.publish()?;
        if position == JOIN {
            clients.iter_mut().skip(1).for_each(Client::join);
        }
    }
    Ok(taken)
}

/// The rows of the table.
const ROWS: [&str; 6] = [
    "joining, frames 1 to 60",
    "established, meanwhile",
    "all, steady",
    "joining, first",
    "producer, meanwhile",
    "producer, steady",
];

/// The figures of a round in the order of the rows, and the number of missed frames.
fn round() -> Result<([[f64; 3]; 6], u64)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let publisher = Publisher::builder(channel(directory.path()))
        .slot_size(SIZE)
        .open()?;
    let start = |_| Client::start(directory.path());
    let mut clients: Vec<Client> = (0..=JOINING).map(start).collect();
    clients[0].join();
    publisher.wait_for_clients(1, Some(Duration::from_secs(10)))?;
    let taken = publish(&publisher, &mut clients)?;
    drop(publisher);
    let reports: Vec<Report> = clients.iter_mut().map(Client::report).collect();
    let (established, joining) = (&reports[0], &reports[1..]);
    let during = JOIN + 1..JOIN + 1 + FIRST as u64;
    let first = |report: &Report| report.frames.first().map(|frame| frame[2] - report.joined);
    let figures = [
        joining
            .iter()
            .flat_map(|one| {
                one.latencies(|_, published| published > one.joined)
                    .take(FIRST)
            })
            .collect(),
        established
            .latencies(|position, _| during.contains(&position))
            .collect(),
        reports
            .iter()
            .flat_map(|one| one.latencies(|position, _| position >= STEADY))
            .collect(),
        joining.iter().filter_map(first).collect(),
        taken[JOIN as usize + 1..][..FIRST].to_vec(),
        taken[STEADY as usize..].to_vec(),
    ];
    let missed = reports.iter().map(|report| report.missed).sum();
    Ok((figures.map(percentiles), missed))
}

pub(crate) fn bench() -> Result<()> {
    println!("joins, medians of {ROUNDS} rounds in µs        p50        p99        max");
    let mut rounds = Vec::new();
    let mut missed = 0;
    for _ in 0..ROUNDS {
        let (figures, lost) = round()?;
        rounds.push(figures);
        missed += lost;
    }
    for (row, name) in ROWS.iter().enumerate() {
        let median = |column: usize| {
            let mut all: Vec<f64> = rounds.iter().map(|figures| figures[row][column]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let [p50, p99, max] = [0, 1, 2].map(median);
        println!("{name:32} {p50:10.0} {p99:10.0} {max:10.0}");
    }
    println!("frames missed in all rounds {missed}");
    Ok(())
}
