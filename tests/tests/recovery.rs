//! A producer is killed and another takes its place, again and again: how soon its clients are back.
//!
//! Five times, or a hundred with `make torture`, which prints the times.

use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Place, is_torture};

const CLIENTS: usize = 8;
const CLIENT: &str = "xmemsrc name=src channel=cam0 on-disconnect=reconnect connection-timeout=\
                      18446744073709551615 ! fakesink name=out";
/// Live and not synchronized, so that its first frame is sent when it comes.
const CAMERA: &str = "videotestsrc is-live=true pattern=ball \
                      ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1 \
                      ! xmemsink name=sink channel=cam0 sync=false";

#[test]
fn all_clients_are_back_after_each_crash() {
    let rounds = match is_torture() {
        true => 100,
        false => 5,
    };
    let place = Place::new();
    let mut clients: Vec<Pipeline> = (0..CLIENTS)
        .map(|_| Pipeline::play(&place, &["inspect out.sink"], CLIENT))
        .collect();
    // Microseconds from the producer's first frame to a client's.
    let mut times = Vec::new();
    for _ in 0..rounds {
        let marks: Vec<usize> = clients.iter().map(Pipeline::mark).collect();
        let mut producer = Pipeline::play(&place, &["inspect sink.sink"], CAMERA);
        producer.until_buffers("sink.sink", 1);
        let first = producer.buffers("sink.sink")[0].number("now");
        for (client, mark) in clients.iter_mut().zip(marks) {
            // The frames of the producer before may still come: no new connection.
            let back = client.until_since(mark, "it receives from the next producer", |line| {
                line.word == "buffer" && line.text("flags").contains("DISCONT")
            });
            times.push(back.number("now").saturating_sub(first) / 1000);
        }
        producer.kill();
    }
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} clients were back after {median} us (median), {worst} us (worst)",
        times.len()
    );
    for client in &mut clients {
        assert_eq!(client.stats("src").number("connections"), rounds);
        assert!(client.messages().is_empty(), "{:?}", client.messages());
    }
}
