//! Frames whose latency is measured. Each starts with the time before it was published.

use std::time::{Duration, Instant};

use xmem_core::{Error, Publisher, Result, Subscriber};
use xmem_tests::Line;
use xmem_tests::roles::monotonic_ns;
use xmem_tests::samples::to_text;

/// Publishes `count` frames of `size` bytes, one per `period-us`. A frame that is late delays none
/// after it. Reports how long all frames took (`us`), and how long each `acquire` and `publish`
/// took, except for the first `warm-up` frames.
pub(crate) fn publish(publisher: &Publisher, order: &Line, next: &mut u64) -> Result<Line> {
    let size = order.number("size") as usize;
    let period = Duration::from_micros(order.number("period-us"));
    let warm_up = order.number("warm-up");
    let mut acquiring = Vec::new();
    let mut publishing = Vec::new();
    let mut start = Instant::now();
    let mut due = start;
    for number in 0..order.number("count") {
        if number == warm_up {
            start = Instant::now();
            due = start;
        }
        let before = Instant::now();
        let mut frame = publisher.acquire(size)?;
        let acquired = before.elapsed();
        let stamp = monotonic_ns();
        frame.payload().write(0, &stamp.to_le_bytes());
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
    Ok(Line::new("timed")
        .with("next", *next)
        .with("us", start.elapsed().as_micros())
        .with("acquire", to_text(&acquiring))
        .with("publish", to_text(&publishing)))
}

/// Receives the frames from number `from` on, up to but not including `until`, or until none
/// arrives for `timeout-ms`. Reports how many frames arrived, and the latency of each, except for
/// those before `after`.
pub(crate) fn receive(subscriber: &mut Subscriber, order: &Line) -> Result<Line> {
    let timeout = Duration::from_millis(order.number("timeout-ms"));
    let (until, after) = (order.number("until"), order.number("after"));
    let mut received = 0;
    let mut latencies = Vec::new();
    let mut next = order.number("from");
    println!("timing");
    while next < until {
        let frame = match subscriber.receive(Some(timeout)) {
            Err(Error::TimedOut) => break,
            other => other?,
        };
        let now = monotonic_ns();
        let mut stamp = [0; 8];
        frame.payload()?.read(0, &mut stamp);
        received += 1;
        next = frame.seq() + 1;
        if frame.seq() >= after {
            latencies.push(now - u64::from_le_bytes(stamp));
        }
    }
    Ok(Line::new("timed")
        .with("received", received)
        .with("latency", to_text(&latencies)))
}
