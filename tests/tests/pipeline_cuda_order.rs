//! The order of frames, of what elements do with them, and of the work on the device: the stand-in for the
//! driver runs work when a test says so.
//!
//! If leases ended without a wait for the work, `a_lease_ends_after_work_that_no_element_knows` would fail.

use std::time::Duration;

use xmem_tests::fakecuda::{FakeCuda, Mode, gstreamer_has_cuda};
use xmem_tests::gpu::{self, CHANNEL, Picture, Produce, held};
use xmem_tests::pipeline::cuda::{CUDA, Pictures, digests, pictures, play, start};
use xmem_tests::pipeline::{LOSSLESS, Order, State};
use xmem_tests::{Place, process, until};

const NV12: &str = "format=NV12,width=320,height=240";

#[test]
fn a_lease_ends_after_work_that_no_element_knows() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, writing, reading) = (Place::new(), FakeCuda::new(), held());
    let mut producer = gpu::producer(&place, &writing, "slots=4");
    producer.ask(Produce::Format(format!("{CUDA},{NV12},framerate=30/1")));
    let client = format!("xmemsrc name=src channel={CHANNEL} ! fakesink name=out sync=false");
    let client = format!("{client} enable-last-sample=false");
    let mut client = play(&place, &reading, &["copy out.sink"], &client);
    gpu::wait_for_clients(&mut producer, 1);
    for seed in 0..2 {
        producer.ask(Produce::Picture(Picture::in_cuda(NV12).seed(seed)));
    }
    // Downstream puts a copy of each on a stream of its own, and drops the buffer.
    until("downstream has had both frames", || {
        client.watched("out.sink").number("count") == 2
    });
    process::until_asleep(client.pid(), "src:src");
    let mut control = reading.control(client.pid());
    assert!(control.queued() >= 2);
    for _ in 0..20 {
        assert_eq!(gpu::stats(&mut producer, "held"), 2);
    }
    control.run_all();
    until("the leases have ended", || {
        gpu::stats(&mut producer, "held") == 0
    });
}

#[test]
fn the_streaming_thread_goes_on_while_the_device_copies() {
    if !gstreamer_has_cuda() {
        return;
    }
    const QUEUED: u64 = 5;
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Hold));
    // The tee keeps upstream from writing into slots.
    let description = format!(
        "videotestsrc pattern=ball ! video/x-raw,{NV12},framerate=30/1 ! cudaupload ! {CUDA} ! \
         tee name=t ! queue name=q max-size-buffers={QUEUED} max-size-bytes=0 max-size-time=0 ! \
         xmemsink name=sink channel=cam0 sync=false max-buffers=8 enable-last-sample=false \
         t. ! queue ! fakesink sync=false enable-last-sample=false async=false"
    );
    let mut producer = start(&place, &driver, &[], &description);
    producer.change(State::Ready);
    let eager = FakeCuda::new();
    let mut client = pictures(&place, &eager, "");
    producer.until_clients("sink", 1);
    producer.change(State::Paused);
    let mut control = driver.control(producer.pid());
    control.open();
    producer.change(State::Playing);
    // All slots were made.
    producer.until_stats("sink", "it runs", |stats| {
        stats.number("copied-device") > 20
    });
    producer.settle(State::Paused);
    until("the queue is full", || {
        let order = Order::Get {
            of: "q".into(),
            property: "current-level-buffers".into(),
        };
        producer.order(order).text("text") == QUEUED.to_string()
    });
    until("nothing waits for the device", || {
        control.queued() == 0 && producer.stats("sink").number("gpu-pending") == 0
    });
    let before = producer.stats("sink");
    let mark = driver.log().len();
    control.hold();
    producer.change(State::Playing);
    let pending = producer.until_stats("sink", "copies wait for the device", |stats| {
        stats.number("gpu-pending") >= QUEUED
    });
    for _ in 0..20 {
        let stats = producer.stats("sink");
        assert_eq!(
            stats.number("published"),
            before.number("published"),
            "{stats}"
        );
    }
    let copied = pending.number("copied-device") - before.number("copied-device");
    assert!(copied >= QUEUED, "{pending}");
    let log = driver.log().split_off(mark);
    let own = log
        .iter()
        .filter(|call| call.get("thread") == Some("q:src"));
    let waits = own.filter(|call| call.word.ends_with("Synchronize"));
    assert_eq!(waits.count(), 0);
    control.open();
    producer.until_stats("sink", "the copies are published", |stats| {
        stats.number("published") >= before.number("published") + QUEUED
    });
    client.ask(Pictures::Next(10_000));
}

/// As a decoder does, which writes the next picture into a buffer that downstream has given back.
#[test]
fn upstream_never_lacks_buffers_of_a_pool_of_fixed_size() {
    if !gstreamer_has_cuda() {
        return;
    }
    const COUNT: u64 = 100;
    let time = Duration::from_millis(2);
    for mode in [Mode::Eager, Mode::Delay(time)] {
        let (place, driver) = (Place::new(), FakeCuda::new().mode(mode));
        let description = format!(
            "appsrc name=src format=time ! xmemsink name=sink channel=cam0 {LOSSLESS} \
             enable-last-sample=false"
        );
        let mut producer = start(&place, &driver, &[], &description);
        producer.change(State::Ready);
        let eager = FakeCuda::new();
        let mut client = pictures(&place, &eager, "");
        producer.until_clients("sink", 1);
        client.order(Pictures::Run(u64::MAX));
        producer.change(State::Playing);
        let pushed = producer.order(Order::PushCuda {
            from: "src".into(),
            caps: format!("{CUDA},{NV12},framerate=30/1"),
            count: COUNT as u8,
            buffers: 4,
        });
        assert_eq!(pushed.text("flow"), "Ok", "{pushed}");
        producer.order(Order::end("src"));
        let ended = client.wait_for("ended");
        assert_eq!(ended.number("missed"), 0, "{ended}");
        // None was written again before it was copied.
        let mut all = digests(&ended);
        assert_eq!(all.len() as u64, COUNT);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, COUNT);
        producer.until_eos();
        let stats = producer.stats("sink");
        assert_eq!(stats.number("copied-device"), COUNT, "{stats}");
        let copies = driver.calls("cuMemcpy2DAsync_v2").len();
        // Both planes lie one after the other.
        assert!(copies <= 2 * COUNT as usize, "{copies}");
    }
}
