//! What it costs to learn that work is done, and to record work.

use std::time::{Duration, Instant};

use xmem_tests::roles::monotonic_ns;

use crate::answer::{Answer, Question, spread};
use crate::clock::Clock;
use crate::gpu::{BLOCKING, Gpu, NO_TIMING, NON_BLOCKING, NOT_READY, call, ok};

const FRAMES: usize = 200;

/// How a thread waits for an event.
#[derive(Clone, Copy)]
enum Wait {
    Spinning,
    Asleep,
    /// As xmem does: it looks for 50 µs, then sleeps.
    Both,
}

pub fn ask_completion(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let clock = Clock::new(&gpu)?;
    for (what, wait, time, frames) in [
        (
            "spinning, after work of 150 us",
            Wait::Spinning,
            150,
            FRAMES,
        ),
        ("asleep, after work of 150 us", Wait::Asleep, 150, FRAMES),
        ("asleep, after work of 5 ms", Wait::Asleep, 5000, 50),
        (
            "50 us spinning, then asleep, after work of 40 us",
            Wait::Both,
            40,
            FRAMES,
        ),
        (
            "50 us spinning, then asleep, after work of 150 us",
            Wait::Both,
            150,
            FRAMES,
        ),
    ] {
        let part = format!("from the end of work to the CPU, {what}");
        question.line(
            &part,
            late(&gpu, &clock, wait, Duration::from_micros(time), frames),
        );
    }
    Ok(())
}

fn late(gpu: &Gpu, clock: &Clock<'_>, wait: Wait, time: Duration, frames: usize) -> Answer {
    let stream = gpu.stream(NON_BLOCKING)?;
    let flags = match wait {
        Wait::Spinning => NO_TIMING,
        _ => NO_TIMING | BLOCKING,
    };
    let (event, stamps) = (gpu.event(flags)?, gpu.allocate(16 * frames as u64)?);
    let (before, trip) = clock.offset()?;
    let mut seen = Vec::new();
    for frame in 0..frames as u64 {
        gpu.spin(stream, time, stamps + 16 * frame)?;
        ok("cuEventRecord", &[event, stream])?;
        let begun = Instant::now();
        let looks = |limit: Duration| -> Answer<bool> {
            while begun.elapsed() < limit {
                if call("cuEventQuery", &[event])? != NOT_READY {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let done = match wait {
            Wait::Spinning => looks(Duration::from_secs(2))?,
            Wait::Asleep => false,
            Wait::Both => looks(Duration::from_micros(50))?,
        };
        if !done {
            ok("cuEventSynchronize", &[event])?;
        }
        seen.push(monotonic_ns());
    }
    let (after, _) = clock.offset()?;
    let ends = gpu.words(stamps, 2 * frames)?;
    let ends = ends.chunks_exact(2).map(|stamps| stamps[1] as i64);
    let offset = (before + after) / 2;
    let late = seen.iter().zip(ends);
    // A clock that is off may make a time negative.
    let late = late.map(|(seen, end)| (*seen as i64 - end - offset).max(0) as u64);
    let mistake = (trip as f64 / 2.0 + (after - before).abs() as f64) / 1e3;
    // The first ones warm up.
    let late = spread(late.skip(10).collect());
    Ok(format!("{late}, the clocks within {mistake:.1} us"))
}

pub fn ask_records(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    for streams in [1, 4, 16] {
        let part = format!("cuCtxRecordEvent with {streams} non-blocking streams");
        question.line(&part, recorded(&gpu, streams, NON_BLOCKING, true));
    }
    for streams in [1, 16] {
        let part = format!("an event on the default stream with {streams} blocking streams");
        question.line(&part, recorded(&gpu, streams, 0, false));
    }
    let part = "an event on the default stream with 16 non-blocking streams";
    question.line(part, recorded(&gpu, 16, NON_BLOCKING, false));
    Ok(())
}

/// The cost of a record, and whether its event waits for all streams.
fn recorded(gpu: &Gpu, streams: usize, flags: u64, all: bool) -> Answer {
    let event = gpu.event(NO_TIMING)?;
    let streams: Answer<Vec<u64>> = (0..streams).map(|_| gpu.stream(flags)).collect();
    let streams = streams?;
    let record = || {
        let begun = monotonic_ns();
        if all {
            ok("cuCtxRecordEvent", &[gpu.context, event])?;
        } else {
            ok("cuEventRecord", &[event, 0])?;
        }
        Ok(monotonic_ns() - begun)
    };
    let idle: Answer<Vec<u64>> = (0..200).map(|_| record()).collect();
    let idle = spread(idle?);
    let (mut busy, mut complete) = (Vec::new(), 0);
    const ROUNDS: usize = 20;
    let mut rounds = || -> Answer<()> {
        for _ in 0..ROUNDS {
            for stream in &streams {
                gpu.spin(*stream, Duration::from_millis(1), 0)?;
            }
            busy.push(record()?);
            ok("cuEventSynchronize", &[event])?;
            let done = streams
                .iter()
                .map(|stream| call("cuStreamQuery", &[*stream]));
            let done: Answer<Vec<u32>> = done.collect();
            complete += usize::from(done?.iter().all(|code| *code == 0));
            ok("cuCtxSynchronize", &[])?;
        }
        Ok(())
    };
    Ok(match rounds() {
        Ok(()) => format!(
            "idle {idle}; busy {}; all streams are done with it in {complete} of {ROUNDS}",
            spread(busy)
        ),
        Err(problem) => format!("idle {idle}; busy: {problem}"),
    })
}
