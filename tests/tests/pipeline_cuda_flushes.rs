//! Flushes, pauses, and changes of the size of pictures, while the device works on frames.

use std::collections::BTreeSet;
use std::time::Duration;

use xmem_tests::fakecuda::{FakeCuda, Mode, gstreamer_has_cuda};
use xmem_tests::gpu::{self, CHANNEL, Picture, Produce, written};
use xmem_tests::pipeline::cuda::{
    CUDA, Pictures, digests, end_with_nothing_left, pictures, play, start, uncut,
};
use xmem_tests::pipeline::{LOSSLESS, Order, Seek, State};
use xmem_tests::{Place, until};

const NV12: &str = "format=NV12,width=320,height=240";
/// How long each work of the device takes.
const TIME: Duration = Duration::from_millis(2);

#[test]
fn a_producer_flushes_and_pauses_while_the_device_writes() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Delay(TIME)));
    let source = |count| {
        format!("videotestsrc num-buffers={count} pattern=ball ! video/x-raw,{NV12},framerate=30/1")
    };
    let producer = format!(
        "{} ! cudaupload ! {CUDA} ! queue name=q ! xmemsink name=sink channel=cam0 {LOSSLESS}",
        source(200)
    );
    let mut producer = start(&place, &driver, &[], &producer);
    producer.change(State::Ready);
    let eager = FakeCuda::new();
    let mut client = pictures(&place, &eager, "");
    producer.until_clients("sink", 1);
    client.order(Pictures::Run(u64::MAX));
    producer.change(State::Playing);
    for round in 0..5 {
        let published = producer.stats("sink").number("published");
        producer.until_stats("sink", "it goes on", |stats| {
            stats.number("published") > published + 3
        });
        producer.settled();
        producer.order(Seek::to(round * 1_000_000_000));
        if round % 2 == 1 {
            producer.settle(State::Paused);
            producer.change(State::Playing);
        }
    }
    producer.until_eos();
    let ended = client.wait_for("ended");
    // Seeks do not begin the count of buffers again.
    let expected = uncut(&source(400));
    let all: BTreeSet<_> = expected.iter().map(String::as_str).collect();
    let received = digests(&ended);
    assert!(received.iter().all(|one| all.contains(one)), "{ended}");
    // After the last seek, none is missing.
    let last = received.last_chunk::<20>().expect("more frames");
    assert!(expected.windows(20).any(|some| some == last), "{ended}");
    let stats = producer.stats("sink");
    assert_eq!(stats.number("gpu-pending"), 0, "{stats}");
    end_with_nothing_left(&driver, &mut producer);
}

#[test]
fn a_client_flushes_and_pauses_while_the_device_reads() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = gpu::producer(&place, &driver, "slots=4 block=20000");
    producer.ask(Produce::Format(format!("{CUDA},{NV12},framerate=30/1")));
    let slow = FakeCuda::new().mode(Mode::Delay(TIME));
    let file = place.path().join("frames");
    let client = format!(
        "xmemsrc name=src channel={CHANNEL} ! queue ! cudadownload ! video/x-raw ! \
         filesink sync=false buffer-mode=unbuffered location={}",
        file.display()
    );
    let mut client = play(&place, &slow, &[], &client);
    gpu::wait_for_clients(&mut producer, 1);
    let mut pixels = Vec::new();
    for round in 0..6 {
        for _ in 0..5 {
            let picture = Picture::in_cuda(NV12).seed(pixels.len() as u64);
            pixels.push(picture.pixels());
            producer.ask(Produce::Picture(picture));
        }
        match round % 3 {
            0 => {
                client.settled();
                client.order(Order::Flush("src".into()));
            }
            1 => {
                client.change(State::Paused);
                client.change(State::Playing);
            }
            _ => drop(producer.ask(Produce::Flush)),
        }
    }
    let last = Picture::in_cuda(NV12).seed(pixels.len() as u64);
    pixels.push(last.pixels());
    producer.ask(Produce::Picture(last));
    producer.ask(Produce::End);
    client.until_eos();
    let written = written(NV12, &std::fs::read(&file).expect("the file was written"));
    assert!(written.last() == pixels.last());
    assert!(
        written.iter().all(|one| pixels.contains(one)),
        "a torn frame"
    );
    until("the leases have ended", || {
        gpu::stats(&mut producer, "held") == 0
    });
    end_with_nothing_left(&slow, &mut client);
}

#[test]
fn buffers_of_the_pool_outlive_changes_of_size_and_the_sink() {
    if !gstreamer_has_cuda() {
        return;
    }
    const HELD: usize = 2;
    let (place, driver) = (Place::new(), FakeCuda::new());
    let part = |caps: &str| {
        format!("videotestsrc num-buffers=8 pattern=ball ! video/x-raw,{caps},framerate=30/1 ! c.")
    };
    let sizes = [NV12, "format=NV12,width=640,height=480", NV12];
    let parts: Vec<_> = sizes.iter().map(|caps| part(caps)).collect();
    let producer = format!(
        "concat name=c ! cudaupload name=up ! {CUDA} ! xmemsink name=sink channel=cam0 {LOSSLESS} \
         enable-last-sample=false {}",
        parts.join(" ")
    );
    let mut producer = start(&place, &driver, &["report up.src"], &producer);
    producer.hold("up.src", HELD);
    producer.change(State::Ready);
    let mut client = pictures(&place, &driver, "");
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    let ended = client.ask(Pictures::Run(u64::MAX));
    producer.until_eos();
    let sent = producer.digests("up.src");
    assert_eq!(digests(&ended), sent);
    let before = producer.held("up.src");
    producer.change_promptly(State::Null);
    assert_eq!(producer.held("up.src"), before);
    // The client lives, and its channel has ended.
    client.kill();
    producer.hold("up.src", 0);
    end_with_nothing_left(&driver, &mut producer);
}
