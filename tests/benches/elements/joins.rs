//! `--joins`: the first second of a client, and its effect on other clients.
//!
//! One client is connected from the start. Then four others, with pipelines that exist already, go
//! to PLAYING at once. All of them read every frame. Latencies are defined as in the table of the
//! bench. Latencies of a joining client are those of the 60 frames after its first one, because the
//! first frame was sent before it joined. `first` is the time from the order to play to the arrival
//! of the first frame. `steady` is measured later, when no client joins. Each figure is the median
//! of the rounds.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use xmem_tests::roles::monotonic_ns;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::{Child, PATIENCE};
use xmem_tests::samples::{numbers, percentile_us, to_text};

use crate::environment::Environment;
use crate::frame::{self, Header};
use crate::plan::Kind;
use crate::run::{Setting, Socket, client_name};
use crate::{Result, pipeline};

/// Number of clients that join at once.
const JOINING: usize = 4;
/// Number of first frames that are measured for each of them.
const FIRST: usize = 60;
const ROUNDS: usize = 7;
/// The time before the others join; the time until the steady state; the time for which that is
/// measured.
const BEFORE: Duration = Duration::from_secs(1);
const SETTLING: Duration = Duration::from_secs(2);
const STEADY: Duration = Duration::from_secs(3);

/// The role of a client. Plays when it is ordered to, and reports when each frame was sent and when
/// it arrived.
pub fn join(source: &str) -> Result<()> {
    let pipeline = pipeline::launch(&format!("{source} ! fakesink sync=false"))?;
    let times = Arc::new(Mutex::new(Vec::with_capacity(1024)));
    let taken = times.clone();
    pipeline::pad(&pipeline, "source", "src")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let arrived_ns = monotonic_ns();
            let map = info.buffer().and_then(|buffer| buffer.map_readable().ok());
            let frame = map.and_then(|map| Some((Header::read(&map)?, map)));
            let Some((header, map)) = frame else {
                tell_error("a frame that is not of this bench");
                return gst::PadProbeReturn::Ok;
            };
            black_box(frame::sum(&map));
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.is_empty() {
                tell("receiving", "");
            }
            taken.extend([header.stamp_ns, arrived_ns]);
            gst::PadProbeReturn::Ok
        },
    );
    pipeline
        .set_state(gst::State::Ready)
        .map_err(|_| "the pipeline does not reach READY")?;
    pipeline::obey(pipeline, |pipeline, order| match order {
        "play" => {
            if pipeline.set_state(gst::State::Playing).is_err() {
                tell_error("the pipeline does not play");
            }
        }
        _ => {
            let taken = times.lock().unwrap_or_else(PoisonError::into_inner);
            tell("times", to_text(&taken));
        }
    })
}

/// The times of a frame.
#[derive(Clone, Copy)]
struct Times {
    sent: u64,
    arrived: u64,
}

fn times(client: &mut Child) -> Result<Vec<Times>> {
    client.order("report")?;
    let numbers = numbers(&client.report("times", PATIENCE)?)?;
    let pairs = numbers.as_chunks::<2>().0.iter();
    Ok(pairs
        .map(|&[sent, arrived]| Times { sent, arrived })
        .collect())
}

const ROWS: [&str; 4] = [
    "joining, frames 1 to 60",
    "established, meanwhile",
    "all, steady",
    "joining, first",
];

fn percentiles(mut all: Vec<u64>) -> [f64; 3] {
    all.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| percentile_us(&all, share))
}

fn round(kind: Kind, environment: &Environment) -> Result<[[f64; 3]; 4]> {
    let setting = Setting::of(kind, 1 + JOINING);
    let socket = Socket::new(environment);
    let sink = setting.sink(socket.path());
    let role = environment.role(&["producer", &sink, "0", "0"]);
    let producer = Child::spawn("the producer", role)?;
    producer.report("ready", PATIENCE)?;
    let mut clients = (0..=JOINING)
        .map(|number| {
            let role = environment.role(&["joining", &setting.source(socket.path())]);
            let client = Child::spawn(client_name(number), role)?;
            client.report("ready", PATIENCE)?;
            Ok(client)
        })
        .collect::<Result<Vec<Child>>>()?;
    clients[0].order("play")?;
    clients[0].report("receiving", PATIENCE)?;
    std::thread::sleep(BEFORE);
    let joined = monotonic_ns();
    for client in &mut clients[1..] {
        client.order("play")?;
    }
    std::thread::sleep(SETTLING + STEADY);
    let reports = clients.iter_mut().map(times).collect::<Result<Vec<_>>>()?;
    clients.into_iter().try_for_each(Child::end)?;
    producer.end()?;

    let after = |time: Duration| joined + time.as_nanos() as u64;
    let latency = |times: &Times| times.arrived.saturating_sub(times.sent);
    let (established, joining) = (&reports[0], &reports[1..]);
    if let Some(empty) = reports.iter().position(Vec::is_empty) {
        return Err(format!("client {empty} received nothing").into());
    }
    let first = joining.iter().flat_map(|frames| {
        let later = frames.iter().skip(1);
        later.take(FIRST).map(latency)
    });
    let meanwhile = |one: &&Times| (joined..after(Duration::from_secs(1))).contains(&one.sent);
    let steady = |one: &&Times| one.sent > after(SETTLING);
    Ok([
        first.collect(),
        established.iter().filter(meanwhile).map(latency).collect(),
        reports
            .iter()
            .flatten()
            .filter(steady)
            .map(latency)
            .collect(),
        joining
            .iter()
            .map(|frames| frames[0].arrived - joined)
            .collect(),
    ]
    .map(percentiles))
}

/// Measures the kinds in turns, and prints a table for each.
pub fn bench(kinds: &[Kind], environment: &Environment) -> Result<()> {
    let mut rounds = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for (&kind, rounds) in kinds.iter().zip(&mut rounds) {
            rounds.push(round(kind, environment)?);
        }
    }
    for (kind, rounds) in kinds.iter().zip(&rounds) {
        println!("\n{kind}, medians of {ROUNDS} rounds in µs        p50        p99        max");
        for (row, name) in ROWS.iter().enumerate() {
            let [p50, p99, max] = [0, 1, 2].map(|column| {
                let mut all: Vec<f64> = rounds.iter().map(|figures| figures[row][column]).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            });
            println!("{name:34} {p50:10.0} {p99:10.0} {max:10.0}");
        }
    }
    Ok(())
}
