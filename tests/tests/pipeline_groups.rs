//! Compressed and container streams that a client joins late: what they need comes first, and
//! nothing comes that cannot be decoded.

use gst::BufferFlags;
use xmem_tests::pipeline::{Pipeline, Push};
use xmem_tests::{Line, Place, until};

/// All pictures differ, in a size that every encoder accepts.
const PICTURES: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=128,height=96,framerate=30/1";

/// Key frames are so far apart that there is only one, and the frames after it are kept.
const X264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=100000";
const X265: &str = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=100000";
const FOREVER: &str = "group-time=18446744073709551615";

/// A producer that also decodes what it publishes, so that its pictures are known.
fn encoder(place: &Place, stream: &str, decoder: &str, sink: &str) -> Pipeline {
    let description = format!(
        "{PICTURES} ! {stream} ! tee name=t \
         t. ! queue ! xmemsink name=sink channel=cam0 sync=false async=false {sink} \
         t. ! queue ! {decoder} ! video/x-raw,format=I420 ! fakesink name=ref sync=false async=false"
    );
    let watches = ["report ref.sink", "report sink.sink"];
    Pipeline::play(place, &watches, &description)
}

fn decoding(place: &Place, decoder: &str, source: &str) -> Pipeline {
    let client = format!(
        "xmemsrc name=src channel=cam0 {source} ! {decoder} ! video/x-raw,format=I420 \
         ! fakesink name=out sync=false"
    );
    Pipeline::play(place, &["report src.src", "report out.sink"], &client)
}

/// The number of requests for key frames that have reached the elements before the sink.
fn requests(producer: &mut Pipeline) -> usize {
    // The output before the answer to this order has been read then.
    producer.stats("sink");
    let is_request = |line: &&Line| {
        line.get("type") == Some("custom-upstream") && line.text("text").contains("ForceKeyUnit")
    };
    producer.log().iter().filter(is_request).count()
}

/// Waits until `count` requests have arrived, and checks that no more arrive.
fn until_requests(producer: &mut Pipeline, count: usize) {
    until("the requests have arrived", || requests(producer) >= count);
    assert_eq!(requests(producer), count);
}

fn has_flag(buffer: &Line, flag: &str) -> bool {
    buffer.text("flags").split('+').any(|one| one == flag)
}

/// Checks that each picture of the client is one of the producer, in the same order, without a gap.
fn shows_the_same(producer: &mut Pipeline, client: &mut Pipeline, what: &str) {
    client.until_buffers("out.sink", 20);
    let shown: Vec<String> = client
        .digests("out.sink")
        .iter()
        .map(|one| one.to_string())
        .collect();
    producer.until(
        &format!("{what}: the producer has the client's last picture"),
        |line| {
            line.word == "buffer"
                && line.text("at") == "ref.sink"
                && line.text("digest") == shown[19]
        },
    );
    let made = producer.digests("ref.sink");
    let start = made.iter().position(|one| *one == shown[0]);
    let start =
        start.unwrap_or_else(|| panic!("{what}: the first picture is not one of the producer"));
    let made = made.iter().skip(start).take(20).collect::<Vec<_>>();
    let shown = shown.iter().take(20).collect::<Vec<_>>();
    assert!(
        made.iter().zip(&shown).all(|(one, other)| *one == *other),
        "{what}: {made:?} {shown:?}"
    );
}

/// The published streams, and how they are decoded.
fn streams() -> Vec<(&'static str, String, &'static str)> {
    let h264 = format!("{X264} ! h264parse");
    let vp8 = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=100000";
    let theora =
        "theoraenc speed-level=2 keyframe-auto=false keyframe-force=32768 keyframe-freq=32768";
    let with_sound = |muxer: &str| {
        format!(
            "{h264} ! m. audiotestsrc is-live=true samplesperbuffer=480 ! audioconvert ! avenc_aac ! \
             aacparse ! m. {muxer} name=m"
        )
    };
    let in_units = |encoder: &str, codec: &str| {
        format!(
            "{encoder} option-string=slices=3 ! {codec}parse ! \
             video/x-{codec},stream-format=byte-stream,alignment=nal"
        )
    };
    let h264_caps = |format| format!("{h264} ! video/x-h264,stream-format={format},alignment=au");
    vec![
        ("H.264", h264_caps("byte-stream"), "avdec_h264"),
        ("H.264 (avc)", h264_caps("avc"), "avdec_h264"),
        (
            "H.264, parsed",
            h264_caps("byte-stream"),
            "h264parse ! avdec_h264",
        ),
        (
            "H.264, another decoder",
            h264_caps("byte-stream"),
            "openh264dec",
        ),
        (
            "H.265",
            format!("{X265} ! video/x-h265,alignment=au"),
            "h265parse ! avdec_h265",
        ),
        (
            "H.265 (hvc1)",
            format!("{X265} ! h265parse ! video/x-h265,stream-format=hvc1,alignment=au"),
            "h265parse ! avdec_h265",
        ),
        ("VP8", vp8.into(), "vp8dec"),
        (
            "VP9",
            "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=100000 lag-in-frames=0".into(),
            "vp9dec",
        ),
        (
            "AV1",
            "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=100000 lag-in-frames=0"
                .into(),
            "av1dec",
        ),
        ("Theora", theora.into(), "theoradec"),
        (
            "Matroska",
            format!("{h264} ! matroskamux streamable=true"),
            "matroskademux ! h264parse ! avdec_h264",
        ),
        (
            "WebM",
            format!("{vp8} ! webmmux streamable=true"),
            "matroskademux ! vp8dec",
        ),
        (
            "FLV",
            format!("{h264} ! flvmux streamable=true"),
            "flvdemux ! h264parse ! avdec_h264",
        ),
        (
            "MPEG-TS",
            format!("{h264} ! mpegtsmux"),
            "tsdemux ! h264parse ! avdec_h264",
        ),
        (
            "MP4 in fragments",
            format!("{h264} ! mp4mux streamable=true fragment-duration=100"),
            "qtdemux ! h264parse ! avdec_h264",
        ),
        (
            "H.264 in units",
            in_units(X264, "h264"),
            "h264parse ! openh264dec",
        ),
        (
            "H.265 in units",
            in_units(X265, "h265"),
            "h265parse ! avdec_h265",
        ),
        (
            "FLV with sound",
            with_sound("flvmux streamable=true"),
            // flvdemux creates a pad when its first data comes. If that is of the sound, and its pad
            // is not linked, it ends there.
            "flvdemux name=d d. ! audio/mpeg ! fakesink sync=false async=false \
             d. ! h264parse ! avdec_h264",
        ),
        (
            "Matroska with sound",
            with_sound("matroskamux streamable=true"),
            "matroskademux ! h264parse ! avdec_h264",
        ),
        (
            "MPEG-TS with sound",
            // With less latency it begins with the streams that have started, and a demuxer creates
            // other pads when the rest comes.
            with_sound("mpegtsmux latency=1000000000"),
            "tsdemux ! h264parse ! avdec_h264",
        ),
        (
            "MP4 in fragments with sound",
            with_sound("mp4mux streamable=true fragment-duration=100"),
            "qtdemux ! h264parse ! avdec_h264",
        ),
    ]
}

#[test]
fn a_client_that_joins_shows_what_the_producer_shows() {
    for (what, stream, decoder) in streams() {
        let place = Place::new();
        let mut producer = encoder(&place, &stream, decoder, FOREVER);
        producer.until_buffers("ref.sink", 20);
        let mut client = decoding(&place, decoder, "");
        shows_the_same(&mut producer, &mut client, what);
        assert_eq!(requests(&mut producer), 0, "{what}");
        let stats = client.stats("src");
        assert_eq!(
            (stats.number("skipped"), stats.number("missed")),
            (0, 0),
            "{what}: {stats}"
        );
        assert!(
            client.messages().is_empty(),
            "{what}: {:?}",
            client.messages()
        );
    }
}

#[test]
fn where_no_group_is_kept_a_key_frame_is_requested() {
    for (what, stream, decoder) in streams() {
        if what == "AV1" {
            // The encoder of GStreamer 1.22 does not handle requests.
            continue;
        }
        let place = Place::new();
        let mut producer = encoder(&place, &stream, decoder, "group-time=0");
        // A demuxer may miss the only key frame before it knows the programme.
        producer.until_stats("sink", "some frames are published", |stats| {
            stats.number("published") >= 20
        });
        let mut client = decoding(&place, decoder, "");
        shows_the_same(&mut producer, &mut client, what);
        assert_eq!(requests(&mut producer), 1, "{what}");
        let first = client.buffers("src.src")[0];
        assert!(
            !has_flag(first, "DELTA_UNIT") || has_flag(first, "HEADER") || what.ends_with("units"),
            "{what}: {first}"
        );
        assert!(client.stats("src").number("skipped") > 0, "{what}");
    }
}

#[test]
fn clients_that_join_together_ask_once_or_each_once() {
    let place = Place::new();
    let mut producer = encoder(&place, X264, "h264parse ! avdec_h264", "group-time=0");
    producer.until_buffers("ref.sink", 20);
    let decoder = "h264parse ! avdec_h264";
    let mut clients = [(); 4].map(|()| decoding(&place, decoder, ""));
    for client in &mut clients {
        shows_the_same(&mut producer, client, "one of four");
    }
    let requests = requests(&mut producer);
    assert!((1..=4).contains(&requests), "{requests}");
}

#[test]
fn a_client_that_skips_frames_does_not_cost_all_a_key_frame_each_time() {
    let place = Place::new();
    let decoder = "h264parse ! avdec_h264";
    let mut producer = encoder(&place, X264, decoder, "");
    let client = "xmemsrc name=src channel=cam0 delivery=latest ! identity sleep-time=70000 ! \
        fakesink name=out sync=false";
    let mut client = Pipeline::play(&place, &["report src.src"], client);
    let is_key = |frame: &&&Line| !has_flag(frame, "DELTA_UNIT");
    client.until_buffers("src.src", 4);
    // It cannot decode what follows skipped frames, and requests a key frame each time it skips
    // some.
    until("the requests have arrived", || requests(&mut producer) >= 5);
    let frames = producer.buffers("sink.sink");
    let keys: Vec<u64> = frames
        .iter()
        .filter(is_key)
        .map(|frame| frame.number("now"))
        .collect();
    assert!(keys.len() >= 4, "{keys:?}");
    let times = keys.windows(2).map(|keys| keys[1] - keys[0]);
    // The first key frame is the start of the stream.
    let soonest = times.skip(1).min().expect("some key frames were requested");
    assert!(soonest >= 400_000_000, "{keys:?}");
}

/// A stream that a test pushes, buffer by buffer.
struct Stream {
    producer: Pipeline,
    count: u64,
}

const CAPS: &str = "video/x-test";

impl Stream {
    fn new(place: &Place, sink: &str) -> Stream {
        let producer = format!(
            "appsrc name=src is-live=true format=time ! \
             xmemsink name=sink channel=cam0 sync=false {sink}"
        );
        let producer = Pipeline::play(place, &["report sink.sink"], &producer);
        Stream { producer, count: 0 }
    }

    /// Pushes a buffer for each letter: `K` for a key frame, `d` for a dependent one, `h` for a
    /// header.
    fn push(&mut self, buffers: &str) {
        self.push_with(CAPS, buffers);
    }

    fn push_with(&mut self, caps: &str, buffers: &str) {
        for kind in buffers.chars() {
            let flags = match kind {
                'd' => BufferFlags::DELTA_UNIT,
                'h' => BufferFlags::HEADER,
                _ => BufferFlags::empty(),
            };
            self.count += 1;
            let buffer = Push::of(caps).size(100).with(flags);
            let buffer = buffer.pts(self.count * 1_000_000).duration(1_000_000);
            self.producer.push(buffer.seed(self.count));
            self.producer
                .until_buffers("sink.sink", self.count as usize);
        }
    }

    /// Waits until all buffers are published.
    fn settle(&mut self) {
        let count = self.count;
        self.producer
            .until_stats("sink", "all buffers are published", |stats| {
                stats.number("published") == count
            });
    }
}

fn receiving(place: &Place, source: &str) -> Pipeline {
    let client = format!("xmemsrc name=src channel=cam0 {source} ! fakesink name=out sync=false");
    Pipeline::play(place, &["report src.src"], &client)
}

/// The buffers that left the source, as letters.
fn received(client: &Pipeline) -> String {
    let buffers = client.buffers("src.src");
    let letters = buffers.iter().map(|buffer| {
        if has_flag(buffer, "HEADER") {
            'h'
        } else if has_flag(buffer, "DELTA_UNIT") {
            'd'
        } else {
            'K'
        }
    });
    letters.collect()
}

fn until_received(client: &mut Pipeline, expected: &str) {
    client.until_buffers("src.src", expected.len());
    assert_eq!(received(client), expected);
}

#[test]
fn nothing_that_cannot_be_decoded_comes_before_a_key_frame() {
    let place = Place::new();
    let mut stream = Stream::new(&place, "group-time=0");
    stream.push("Kddd");
    stream.settle();
    let mut client = receiving(&place, "");
    client.until_stats("src", "one was skipped", |stats| {
        stats.number("skipped") == 1
    });
    // Before the key frame that answers the request. Otherwise that frame also counts as the answer
    // to the next request.
    until_requests(&mut stream.producer, 1);
    stream.push("ddKdd");
    until_received(&mut client, "Kdd");
    assert!(has_flag(client.buffers("src.src")[0], "DISCONT"));
    assert_eq!(client.stats("src").number("skipped"), 3);
    until_requests(&mut stream.producer, 1);

    // With this setting all buffers are pushed.
    let mut any = receiving(&place, "wait-for-keyframe=false");
    until_received(&mut any, "d");
    // So soon after the last request, it waits.
    until_requests(&mut stream.producer, 2);
    stream.push("dK");
    until_received(&mut any, "ddK");
    assert_eq!(any.stats("src").number("skipped"), 0);
    until_received(&mut client, "KdddK");
    stream.push("d");
    stream.settle();
    let mut silent = receiving(&place, "wait-for-keyframe=false request-keyframe=false");
    until_received(&mut silent, "d");
    stream.push("d");
    until_received(&mut silent, "dd");
    assert_eq!(requests(&mut stream.producer), 2);
}

#[test]
fn a_client_begins_with_the_group_that_is_kept() {
    let place = Place::new();
    let mut stream = Stream::new(&place, FOREVER);
    stream.push("KddddKddd");
    stream.settle();
    let mut client = receiving(&place, "");
    until_received(&mut client, "Kddd");
    stream.push("dKd");
    until_received(&mut client, "KddddKd");
    let stats = client.stats("src");
    assert_eq!(
        (stats.number("skipped"), stats.number("missed")),
        (0, 0),
        "{stats}"
    );
    assert_eq!(requests(&mut stream.producer), 0);
}

#[test]
fn after_missed_frames_there_is_nothing_before_the_next_key_frame() {
    let place = Place::new();
    let mut stream = Stream::new(&place, "max-buffers=12");
    let mut client = receiving(&place, "");
    stream.producer.until_clients("sink", 1);
    stream.push("Kd");
    until_received(&mut client, "Kd");
    client.stop();
    stream.push(&"d".repeat(40));
    stream.settle();
    client.resume();
    client.until_stats("src", "the client has missed some", |stats| {
        stats.number("missed") > 0
    });
    client.until_stats("src", "the client has skipped the others", |stats| {
        stats.number("missed") + stats.number("skipped") + stats.number("received") == 42
    });
    assert_eq!(received(&client).trim_end_matches('d'), "K");
    let before = received(&client).len();
    let log = received(&client);
    stream.push("dK");
    until_received(&mut client, &format!("{log}K"));
    assert!(has_flag(client.buffers("src.src")[before], "DISCONT"));
    until_requests(&mut stream.producer, 1);
}

#[test]
fn headers_come_before_what_a_client_begins_with() {
    let headers = format!("{CAPS},streamheader=(buffer)<0102,030405>");
    let place = Place::new();
    let mut stream = Stream::new(&place, "");
    stream.push_with(&headers, "Kdd");
    stream.settle();
    let mut client = receiving(&place, "");
    until_received(&mut client, "hhKdd");
    let buffers = client.buffers("src.src");
    let sizes = buffers.iter().map(|buffer| buffer.number("size"));
    assert_eq!(sizes.collect::<Vec<_>>(), [2, 3, 100, 100, 100]);
    let discontinuous = buffers.iter().map(|buffer| has_flag(buffer, "DISCONT"));
    assert_eq!(
        discontinuous.collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    for buffer in &buffers {
        let due = buffer.text("due").parse::<i128>().expect("a time");
        assert!(due >= i128::from(buffer.number("base-time")), "{buffer}");
    }
    // After the headers of another producer come those again.
    drop(stream);
    let mut stream = Stream::new(&place, "");
    let mark = client.mark();
    stream.producer.until_clients("sink", 1);
    stream.push_with(&headers, "Kd");
    client.until_buffers_since(mark, "src.src", 4);
    assert_eq!(received(&client), "hhKddhhKd");
}

#[test]
fn streams_without_dependent_frames_are_unchanged() {
    let place = Place::new();
    let mut slots = Vec::new();
    for sink in ["group-time=0 channel=one", "channel=two"] {
        let mut stream = Stream::new(&place, sink);
        stream.push(&"K".repeat(30));
        stream.settle();
        slots.push(stream.producer.stats("sink").number("slots"));
    }
    assert_eq!(slots[0], slots[1]);
}
