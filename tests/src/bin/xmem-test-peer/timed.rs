//! Frames whose latency is measured. Each starts with the time before it was published.

use std::time::{Duration, Instant};

use xmem_core::{Error, Publisher, Result, Subscriber};
use xmem_tests::Line;
use xmem_tests::client::Time;
use xmem_tests::producer::Publish;
use xmem_tests::roles::monotonic_ns;
use xmem_tests::samples::to_text;

/// Publishes frames. Reports how long all took (`us`), and how long each `acquire` and `publish`
/// took, except for those of the warm-up.
pub(crate) fn publish(publisher: &Publisher, frames: &Publish, next: &mut u64) -> Result<Line> {
    let period = Duration::from_micros(frames.period_us);
    let warm_up = frames.warm_up;
    let mut acquiring = Vec::new();
    let mut publishing = Vec::new();
    let mut start = Instant::now();
    let mut due = start;
    for number in 0..frames.count {
        if number == warm_up {
            start = Instant::now();
            due = start;
        }
        let before = Instant::now();
        let mut frame = publisher.acquire(frames.size)?;
        let acquired = before.elapsed();
        let stamp = monotonic_ns();
        frame.payload()?.write(0, &stamp.to_le_bytes());
        frame.publish()?;
        let published = monotonic_ns() - stamp;
        *next += 1;
        if number >= warm_up {
            acquiring.push(acquired.as_nanos() as u64);
            publishing.push(published);
        }
        due += period;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(Line::default()
        .with("next", *next)
        .with("us", start.elapsed().as_micros())
        .with("acquire", to_text(&acquiring))
        .with("publish", to_text(&publishing)))
}

/// Receives frames. Reports how many arrived, and their latencies.
pub(crate) fn receive(subscriber: &mut Subscriber, frames: &Time) -> Result<Line> {
    let timeout = Duration::from_millis(frames.timeout_ms);
    let mut received = 0;
    let mut latencies = Vec::new();
    let mut next = frames.from;
    println!("begun");
    while next < frames.until {
        let frame = match subscriber.receive(Some(timeout)) {
            Err(Error::TimedOut) => break,
            other => other?,
        };
        let now = monotonic_ns();
        let mut stamp = [0; 8];
        frame.payload()?.read(0, &mut stamp);
        received += 1;
        next = frame.seq() + 1;
        if frame.seq() >= frames.after {
            latencies.push(now - u64::from_le_bytes(stamp));
        }
    }
    Ok(Line::default()
        .with("received", received)
        .with("latency", to_text(&latencies)))
}
