//! `xmemsink` with frames in the memory of CUDA devices, on the stand-in for the driver.

use xmem_tests::Place;
use xmem_tests::fakecuda::{FakeCuda, gstreamer_has_cuda};
use xmem_tests::pipeline::cuda::{CUDA, Pictures, digests, pictures, start, uncut};
use xmem_tests::pipeline::{LOSSLESS, Pipeline, State};

const FRAMES: usize = 20;

/// A source of pictures that differ.
fn source(caps: &str) -> String {
    format!("videotestsrc num-buffers={FRAMES} pattern=ball ! video/x-raw,{caps},framerate=30/1")
}

/// The same in CUDA memory.
fn uploaded(caps: &str) -> String {
    format!("{} ! cudaupload ! {CUDA}", source(caps))
}

fn sink() -> String {
    format!("xmemsink name=sink channel=cam0 {LOSSLESS}")
}

/// Starts a producer that waits for a client, and the client.
fn exchange(
    place: &Place,
    driver: &FakeCuda,
    watches: &[&str],
    description: &str,
) -> (Pipeline, xmem_tests::peer::Peer<Pictures>) {
    let mut producer = start(place, driver, watches, description);
    producer.change(State::Ready);
    let client = pictures(place, driver, "");
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    (producer, client)
}

#[test]
fn pictures_cross_as_they_are() {
    if !gstreamer_has_cuda() {
        return;
    }
    for caps in [
        "format=NV12,width=320,height=240",
        "format=NV12,width=322,height=242",
        "format=NV12,width=321,height=243",
        // Of odd heights, GStreamer 1.22 uploads a part of the colours only.
        "format=I420,width=321,height=242",
        "format=P010_10LE,width=66,height=50",
        "format=RGBA,width=65,height=49",
        "format=BGR,width=63,height=47",
        "format=Y444,width=33,height=31",
        "format=RGBP,width=34,height=22",
        "format=YUY2,width=64,height=21",
    ] {
        let (place, driver) = (Place::new(), FakeCuda::new());
        let description = format!("{} ! {}", uploaded(caps), sink());
        let (mut producer, mut client) = exchange(&place, &driver, &[], &description);
        let ended = client.ask(Pictures::Run(u64::MAX));
        assert_eq!(digests(&ended), uncut(&source(caps)), "{caps}");
        producer.until_eos();
        let stats = producer.stats("sink");
        assert_eq!(stats.number("published"), FRAMES as u64, "{stats}");
        assert_eq!(stats.number("copied"), 0, "{stats}");
        assert_eq!(stats.text("storage"), "memory:CUDAMemory", "{stats}");
        assert_eq!(
            stats.number("copied-device") + stats.number("zero-copy"),
            FRAMES as u64,
            "{stats}"
        );
    }
}
