//! Streams of every kind arrive with their caps, whatever these contain: sound, encoded video,
//! packets, text, metadata.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use xmem_tests::Place;
use xmem_tests::local::{self, Local, assert_same};
use xmem_tests::pipeline::fill;

const PATIENT: &str = "sync=false async=false wait-for-connection=true overflow=block \
                        block-timeout=20000000000";

/// The buffers that have passed a pad. They are copies, because there are not enough leases to keep
/// them.
type Passed = Arc<Mutex<Vec<(gst::Caps, gst::Buffer)>>>;

fn watch(pad: &gst::Pad) -> Passed {
    let passed = Passed::default();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    let into = passed.clone();
    pad.add_probe(kinds, move |pad, info| {
        let buffers: Vec<_> = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => vec![buffer.copy_deep()],
            Some(gst::PadProbeData::BufferList(list)) => {
                list.iter().map(|buffer| buffer.copy_deep()).collect()
            }
            _ => vec![],
        };
        let caps = pad.current_caps().expect("buffers have caps");
        let mut into = into.lock().expect("not poisoned");
        for buffer in buffers {
            into.push((caps.clone(), buffer.expect("the buffer can be copied")));
        }
        gst::PadProbeReturn::Ok
    });
    passed
}

/// Checks that what these elements make arrives: caps and buffers, one by one. Returns them.
fn crosses(description: &str) -> Vec<(gst::Caps, gst::Buffer)> {
    let place = Place::new();
    let sink = local::sink(&place, PATIENT);
    let producer = Local::new(&format!("{description} ! {sink}"));
    let pad = producer.element("sink").static_pad("sink");
    let sent = watch(&pad.expect("a sink has a pad"));
    producer.change(gst::State::Playing);
    let client = local::pulling(&place);
    let mut received = Vec::new();
    while let Some(sample) = client.pull() {
        let buffer = sample.buffer().expect("a sample has a buffer");
        let copy = buffer.copy_deep().expect("the buffer can be copied");
        received.push((sample.caps_owned().expect("caps"), copy));
    }
    let sent = sent.lock().expect("not poisoned");
    assert!(sent.len() >= 20, "{} buffers", sent.len());
    assert_eq!(received.len(), sent.len());
    for ((caps_sent, sent), (caps, buffer)) in sent.iter().zip(&received) {
        assert_eq!(caps, caps_sent);
        assert_same(sent, buffer);
    }
    received
}

fn field<'a, T: gst::glib::value::FromValue<'a>>(caps: &'a gst::Caps, name: &str) -> Option<T> {
    let structure = caps.structure(0).expect("the caps have a structure");
    structure.value(name).ok()?.get::<T>().ok()
}

#[test]
fn sound_of_interleaved_samples() {
    crosses(
        "audiotestsrc num-buffers=30 wave=white-noise samplesperbuffer=441 \
         ! audio/x-raw,format=F32LE,rate=44100,channels=6,channel-mask=(bitmask)0x3f",
    );
}

#[test]
fn sound_in_planes() {
    let received = crosses(
        "audiotestsrc num-buffers=30 samplesperbuffer=441 \
         ! audio/x-raw,format=S16LE,rate=44100,channels=2,layout=non-interleaved",
    );
    let layout = field::<String>(&received[0].0, "layout");
    assert_eq!(layout.as_deref(), Some("non-interleaved"));
}

const H264: &str = "videotestsrc num-buffers=20 pattern=ball \
                    ! video/x-raw,format=I420,width=64,height=48,framerate=30/1 \
                    ! x264enc threads=1 key-int-max=5 bframes=2 ! h264parse";

#[test]
fn h264_as_a_stream_of_bytes() {
    let received = crosses(&format!(
        "{H264} ! video/x-h264,stream-format=byte-stream,alignment=au"
    ));
    assert_eq!(received.len(), 20);
    let sizes: Vec<_> = received.iter().map(|(_, buffer)| buffer.size()).collect();
    assert!(sizes.iter().any(|&size| size != sizes[0]), "{sizes:?}");
}

#[test]
fn h264_with_codec_data_in_the_caps() {
    let received = crosses(&format!(
        "{H264} ! video/x-h264,stream-format=avc,alignment=au"
    ));
    let data = field::<gst::Buffer>(&received[0].0, "codec_data").expect("avc has codec_data");
    assert_eq!(local::bytes(&data)[0], 1, "the version of an avcC");
    // A decoder on the other side understands it.
    let place = Place::new();
    let sink = local::sink(&place, PATIENT);
    let _producer = Local::play(&format!(
        "{H264} ! video/x-h264,stream-format=avc,alignment=au ! {sink}"
    ));
    // Some versions of the decoder keep all their input until the end.
    let source = local::source(&place, "max-leases=32");
    let client = Local::play(&format!(
        "{source} ! h264parse ! decodebin ! videoconvert ! video/x-raw,format=RGB \
         ! appsink name=out sync=false async=false enable-last-sample=false"
    ));
    let pictures = std::iter::from_fn(|| client.pull());
    assert_eq!(pictures.count(), 20);
}

#[test]
fn packets_that_come_in_lists() {
    // For raw video, one list of packets per frame.
    crosses(
        "videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! rtpvrawpay ssrc=1 seqnum-offset=2 timestamp-offset=3 mtu=1400",
    );
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=RAW,payload=96";
    producer.set_caps(&caps.parse().expect("caps"));
    let packets: Vec<_> = (0..50u64)
        .map(|number| {
            // Header and payload are separate memories, as payloaders make them.
            let mut packet = gst::Buffer::new();
            for (part, size) in [12, 1388].into_iter().enumerate() {
                let mut bytes = vec![0; size];
                fill(2 * number + part as u64, &mut bytes);
                let content = packet.make_mut();
                content.append_memory(gst::Memory::from_slice(bytes));
            }
            packet
        })
        .collect();
    producer.push_list(&packets.iter().cloned().collect());
    for packet in &packets {
        assert_same(packet, &client.pull_buffer());
    }
}

#[test]
fn metadata_text_and_captions() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    for (number, caps) in [
        "meta/x-klv,parsed=(boolean)true",
        "text/x-raw,format=utf8",
        "text/x-raw,format=pango-markup",
        "closedcaption/x-cea-708,format=cdp,framerate=30/1",
        "application/x-teletext",
        "audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer)1210",
        "audio/x-opus,channel-mapping-family=0,streamheader=<(buffer)4f70757348656164,(buffer)00>",
        "image/jpeg,width=10,height=10,framerate=0/1",
        "application/x-test,nested=(structure)\"inner\\,\\ a\\=\\(int\\)1\\;\",ratio=1/2",
    ]
    .into_iter()
    .enumerate()
    {
        let caps: gst::Caps = caps.parse().expect("caps");
        producer.set_caps(&caps);
        let mut bytes = vec![0; 17 * number + 1];
        fill(number as u64, &mut bytes);
        let mut sent = gst::Buffer::from_slice(bytes);
        sent.make_mut().set_duration(gst::ClockTime::SECOND);
        producer.push(&sent);
        let sample = client.pull().expect("the stream continues");
        assert_eq!(sample.caps_owned(), Some(caps));
        assert_same(&sent, sample.buffer().expect("a sample has a buffer"));
    }
}
