//! A long run: a 4K stream with eight clients, one of which is stopped and one is killed and
//! restarted every second. The producer uses no more resources at the end than at the start, and
//! the others account for every frame.
//!
//! Five seconds, or ten minutes with `make torture`, which prints the figures.

use xmem_tests::pipeline::{Order, Pipeline, State};
use xmem_tests::process::{self, Memory};
use xmem_tests::{Place, is_torture};

/// Frames per second.
const RATE: u64 = 30;
const CAMERA: &str = "videotestsrc name=v is-live=true pattern=black \
                      ! video/x-raw,format=NV12,width=3840,height=2160,framerate=30/1 \
                      ! xmemsink name=sink channel=cam0 sync=false";
const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";
const HEALTHY: usize = 6;
/// With the one that is stopped, and the one that is killed.
const CLIENTS: u64 = HEALTHY as u64 + 2;

/// The resources of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    fds: usize,
    threads: usize,
    memory: Memory,
}

impl Cost {
    fn of(pid: u32) -> Cost {
        Cost {
            fds: process::fd_count(pid),
            threads: process::thread_states(pid).len(),
            memory: process::memory(pid),
        }
    }
}

/// The numbers of frames that a client received and missed.
fn told(client: &mut Pipeline) -> (u64, u64) {
    let stats = client.stats("src");
    (stats.number("received"), stats.number("missed"))
}

#[test]
fn a_long_run_costs_no_more_than_a_short_one() {
    let seconds = if is_torture() { 600 } else { 5 };
    let place = Place::new();
    let client = || Pipeline::play(&place, &[], CLIENT);
    let mut healthy: Vec<Pipeline> = (0..HEALTHY).map(|_| client()).collect();
    let mut stopped = client();
    let mut producer = Pipeline::start(&place, &[], CAMERA);
    // A camera has no frames before PLAYING, so no client connects too late for one.
    producer.change(State::Paused);
    producer.until_clients("sink", CLIENTS - 1);
    producer.change(State::Playing);
    stopped.until_stats("src", "it receives", |stats| stats.number("received") > 0);
    stopped.stop();

    let published = |producer: &mut Pipeline| producer.stats("sink").number("published");
    let start = published(&mut producer);
    let mut costs = Vec::new();
    for second in 1..=seconds {
        let mut passing = client();
        passing.until_stats("src", "it receives", |stats| stats.number("received") > 0);
        producer.until_stats("sink", "a second has passed", |stats| {
            stats.number("published") >= start + second * RATE
        });
        costs.push(Cost::of(producer.pid()));
        let mark = producer.mark();
        passing.kill();
        producer.until_clients_since(mark, "sink", CLIENTS - 1);
    }

    producer.order(Order::Eos);
    let published = published(&mut producer);
    let mut missed = 0;
    for client in &mut healthy {
        client.until_eos();
        let told = told(client);
        assert_eq!(told.0 + told.1, published, "{told:?}");
        missed += told.1;
    }
    stopped.resume();
    stopped.until_eos();
    let late = told(&mut stopped);
    assert_eq!(late.0 + late.1, published, "{late:?}");

    // In the first rounds the clients ask for the slots that their latency needs, on a busy machine
    // more than once, and the process allocates what it keeps for later.
    let first = costs[0];
    let costs = &costs[costs.len() / 2..];
    let settled = costs[0];
    let last = costs[costs.len() - 1];
    println!(
        "{published} frames; six clients missed {missed}, the stopped one {}",
        late.1
    );
    println!("first {first:?}\nsettled {settled:?}\nlast {last:?}");
    for cost in costs {
        assert_eq!(cost.fds, last.fds, "{costs:#?}");
        assert_eq!(cost.memory.shared, last.memory.shared, "{costs:#?}");
        // GLib ends an unused thread of its own after some seconds.
        assert!(cost.threads <= first.threads, "{costs:#?}");
    }
    // A leak of 2 KiB per second would show in ten minutes. Less can be caused by the allocator.
    let grown = last.memory.own.saturating_sub(settled.memory.own);
    assert!(grown < 1024, "{grown} KiB more: {costs:#?}");
}
