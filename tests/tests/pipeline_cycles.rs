//! A thousand fast state changes leave nothing behind.

use xmem_tests::pipeline::{Order, Pipeline, State};
use xmem_tests::{Place, process, remains, until};

const CYCLES: u64 = 1000;
/// After this many cycles, the objects that GStreamer keeps for later exist.
const WARM_UP: u64 = 20;
const SINK: &str = "videotestsrc name=v ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1 \
                    ! xmemsink name=sink channel=cam0";
const SOURCE: &str = "xmemsrc name=src channel=cam0 connection-timeout=18446744073709551615 \
                      ! fakesink name=out";

fn cycle(pipeline: &mut Pipeline, count: u64) {
    // A hundred at a time: each order has the whole timeout of a test.
    for _ in 0..count.div_ceil(100) {
        let cycled = pipeline.order(Order::Cycle(count.min(100)));
        assert_eq!(cycled.text("result"), "Success");
    }
}

fn leaves_nothing_behind(pipeline: &mut Pipeline) {
    cycle(pipeline, WARM_UP);
    remains::none_of(pipeline, |pipeline| cycle(pipeline, CYCLES));
}

#[test]
fn a_thousand_cycles_of_a_sink_leave_nothing_behind() {
    let place = Place::new();
    let mut sink = Pipeline::start(&place, &[], SINK);
    leaves_nothing_behind(&mut sink);
    assert!(place.files().is_empty(), "{:?}", place.files());
    assert!(place.new_in_shm().is_empty(), "{:?}", place.new_in_shm());
}

#[test]
fn a_thousand_cycles_of_a_source_leave_nothing_behind() {
    let place = Place::new();
    let mut source = Pipeline::start(&place, &[], SOURCE);
    leaves_nothing_behind(&mut source);
}

#[test]
fn a_thousand_cycles_of_a_source_leave_nothing_in_its_producer() {
    let place = Place::new();
    let mut sink = Pipeline::play(&place, &[], SINK);
    let mut source = Pipeline::start(&place, &[], SOURCE);
    cycle(&mut source, WARM_UP);
    sink.until_stats("sink", "the source is gone", |stats| {
        stats.number("clients") == 0
    });
    let pid = sink.pid();
    // The descriptors of slot memory, and all others.
    let fds = || {
        let fds = process::fds(pid).into_iter();
        let (slots, others): (Vec<_>, Vec<_>) =
            fds.partition(|(_, name)| name.to_string_lossy().contains("xmem-payload"));
        (slots.len(), others)
    };
    let (segments, others) = fds();
    leaves_nothing_behind(&mut source);
    sink.until_stats("sink", "the source is gone", |stats| {
        stats.number("clients") == 0
    });
    until("the connections are closed", || {
        fds().1.len() <= others.len()
    });
    // Unused slots are freed after some seconds, and made again for the next client.
    assert!(fds().0 <= segments + 4, "{:#?}", process::fds(pid));
    let memory = sink.stats("sink").number("memory");
    assert!(memory < 4 << 20, "{memory} bytes of slots");
    sink.end();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_thousand_cycles_of_a_sink_leave_nothing_in_its_client() {
    let place = Place::new();
    let mut sink = Pipeline::start(&place, &[], SINK);
    let client = "xmemsrc name=src channel=cam0 on-disconnect=reconnect \
                  connection-timeout=18446744073709551615 ! fakesink name=out \
                  enable-last-sample=false";
    let mut source = Pipeline::play(&place, &["count out.sink"], client);
    leaves_nothing_behind(&mut sink);
    assert!(place.files().is_empty(), "{:?}", place.files());
    // It has outlived all of them, and receives from the next.
    let received = source.watched("out.sink").number("count");
    sink.change(State::Playing);
    until("the client receives", || {
        source.watched("out.sink").number("count") > received
    });
    assert!(source.messages().is_empty(), "{:?}", source.messages());
    sink.change(State::Null);
    until("the connections are closed", || {
        process::maps(source.pid(), "memfd:xmem").is_empty()
    });
    source.end();
}

#[test]
fn sink_and_source_in_one_process_leave_nothing_behind() {
    let place = Place::new();
    let pipeline = format!("{SINK} async=false {SOURCE}");
    let mut pipeline = Pipeline::start(&place, &[], &pipeline);
    leaves_nothing_behind(&mut pipeline);
    assert!(place.files().is_empty(), "{:?}", place.files());
}
