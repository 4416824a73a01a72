//! A producer is killed and another one replaces it, repeatedly: how soon its clients have
//! reconnected.
//!
//! Five times, or a hundred with `make torture`, which prints the times.

use xmem_tests::pipeline::Pipeline;
use xmem_tests::{Place, is_torture};

const CLIENTS: usize = 8;
const CLIENT: &str = "xmemsrc name=src channel=cam0 on-disconnect=reconnect connection-timeout=\
                      18446744073709551615 ! fakesink name=out";
/// Live and not synchronised, so the first frame is sent as soon as it is made.
const CAMERA: &str = "videotestsrc is-live=true pattern=ball \
                      ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1 \
                      ! xmemsink name=sink channel=cam0 sync=false";

#[test]
fn all_clients_have_reconnected_after_each_crash() {
    let rounds = if is_torture() { 100 } else { 5 };
    let place = Place::new();
    let mut clients: Vec<Pipeline> = (0..CLIENTS)
        .map(|_| Pipeline::play(&place, &["inspect out.sink"], CLIENT))
        .collect();
    // Microseconds from the producer's first frame to that of a client.
    let mut times = Vec::new();
    for _ in 0..rounds {
        let marks: Vec<usize> = clients.iter().map(Pipeline::mark).collect();
        let mut producer = Pipeline::play(&place, &["inspect sink.sink"], CAMERA);
        producer.until_buffers("sink.sink", 1);
        let first = producer.buffers("sink.sink")[0].number("now");
        for (client, mark) in clients.iter_mut().zip(marks) {
            // Frames of the former producer may still arrive, but those are not of the new
            // connection.
            let back =
                client.until_since(mark, "the client receives from the next producer", |line| {
                    line.word == "buffer" && line.text("flags").contains("DISCONT")
                });
            times.push(back.number("now").saturating_sub(first) / 1000);
        }
        producer.kill();
    }
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} clients had reconnected after {median} us (median), {worst} us (worst)",
        times.len()
    );
    for client in &mut clients {
        assert_eq!(client.stats("src").number("connections"), rounds);
        assert!(client.messages().is_empty(), "{:?}", client.messages());
    }
}
