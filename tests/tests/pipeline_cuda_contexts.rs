//! The CUDA contexts that elements work in: those of an application, and those of other elements.

use xmem_tests::fakecuda::{FakeCuda, gstreamer_has_cuda};
use xmem_tests::gpu::{self, CHANNEL, Picture, Produce};
use xmem_tests::pipeline::cuda::{
    CUDA, Pictures, digests, end_with_nothing_left, pictures, start, uncut,
};
use xmem_tests::pipeline::{LOSSLESS, Order, Pipeline, State};
use xmem_tests::{Place, until};

const NV12: &str = "format=NV12,width=320,height=240";

/// How many contexts a process has made. GStreamer's plugin makes some when it is loaded, with the pipeline.
fn made(driver: &FakeCuda, pipeline: &Pipeline) -> usize {
    let made = |call: &&xmem_tests::Line| {
        call.word.starts_with("cuCtxCreate") && call.number("pid") == u64::from(pipeline.pid())
    };
    driver.log().iter().filter(made).count()
}

#[test]
fn elements_work_in_the_context_of_the_application() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let source = format!("videotestsrc num-buffers=10 pattern=ball ! video/x-raw,{NV12}");
    let sink = format!("xmemsink name=sink channel=cam0 {LOSSLESS}");
    let producer = format!("{source} ! cudaupload ! {CUDA} ! {sink}");
    let mut producer = start(&place, &driver, &[], &producer);
    let before = made(&driver, &producer);
    producer.order(Order::ShareCuda);
    producer.change(State::Ready);
    // A process in the middle has both elements.
    let middle = format!(
        "xmemsrc name=src channel=cam0 ! {CUDA} ! xmemsink name=sink channel=cam1 {LOSSLESS}"
    );
    let mut middle = start(&place, &driver, &[], &middle);
    middle.order(Order::ShareCuda);
    middle.change(State::Ready);
    let mut client = pictures(&place, &driver, "channel=cam1");
    middle.until_clients("sink", 1);
    middle.change(State::Playing);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    let ended = client.ask(Pictures::Run(u64::MAX));
    assert_eq!(digests(&ended), uncut(&source));
    middle.until_eos();
    assert_eq!(made(&driver, &producer), before);
    assert_eq!(made(&driver, &middle), 0);
    for pipeline in [&mut producer, &mut middle] {
        end_with_nothing_left(&driver, pipeline);
    }
}

#[test]
fn the_source_works_in_the_context_of_its_neighbour() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = gpu::producer(&place, &driver, "slots=4");
    producer.ask(Produce::Format(format!("{CUDA},{NV12},framerate=30/1")));
    let client = format!(
        "xmemsrc name=src channel={CHANNEL} ! cudadownload ! video/x-raw ! fakesink name=out"
    );
    let mut client = start(&place, &driver, &["report out.sink"], &client);
    let before = made(&driver, &client);
    client.change(State::Playing);
    gpu::wait_for_clients(&mut producer, 1);
    producer.ask(Produce::Picture(Picture::in_cuda(NV12)));
    client.until_buffers("out.sink", 1);
    assert_eq!(made(&driver, &client), before + 1);
}

#[test]
fn the_sink_works_in_the_context_of_upstream() {
    if !gstreamer_has_cuda() {
        return;
    }
    let (place, driver) = (Place::new(), FakeCuda::new());
    let producer = format!(
        "videotestsrc is-live=true ! video/x-raw,{NV12} ! cudaupload ! {CUDA} ! \
         xmemsink name=sink channel=cam0"
    );
    let mut producer = start(&place, &driver, &[], &producer);
    let before = made(&driver, &producer);
    producer.change(State::Playing);
    until("it runs", || producer.stats("sink").number("published") > 2);
    assert_eq!(made(&driver, &producer), before + 1);
}
