//! Any caps cross: raw video in every format, sound, text, and unknown types; buffers without bytes
//! and in several memories; and caps that change while the stream runs.

use gst::BufferFlags;
use xmem_tests::Place;
use xmem_tests::pipeline::{Order, Pipeline, Push, State};

const PATIENT: &str =
    "sync=false overflow=block block-timeout=20000000000 wait-for-connection=true";

/// A producer whose sink has two clients, and what they receive.
struct Exchange {
    producer: Pipeline,
    clients: Vec<Pipeline>,
}

impl Exchange {
    /// `watch` says how the buffers are watched on both sides.
    fn start(place: &Place, watch: &str, producer: &str) -> Exchange {
        let producer = format!("{producer} ! xmemsink name=sink channel=cam0 {PATIENT}");
        let mut producer = Pipeline::start(place, &[&format!("{watch} sink.sink")], &producer);
        producer.change(State::Ready);
        let client = "xmemsrc name=src channel=cam0 ! fakesink name=out";
        let watch = format!("{watch} out.sink");
        let clients = (0..2).map(|_| Pipeline::play(place, &[&watch], client));
        let clients = clients.collect();
        producer.until_clients("sink", 2);
        producer.change(State::Playing);
        Exchange { producer, clients }
    }

    /// Waits for EOS and compares all that has crossed.
    fn compare(&mut self) {
        self.producer.until_eos();
        let caps = self.producer.caps("sink.sink");
        let digests = self.producer.digests("sink.sink");
        for client in &mut self.clients {
            client.until_eos();
            assert_eq!(client.caps("out.sink"), caps);
            assert_eq!(client.digests("out.sink"), digests);
            assert_eq!(client.stats("src").number("missed"), 0);
        }
    }
}

fn pushing(place: &Place) -> Exchange {
    Exchange::start(place, "inspect-bytes", "appsrc name=src format=time")
}

#[test]
fn raw_video_of_every_format_crosses() {
    let place = Place::new();
    let mut exchange = pushing(&place);
    let formats = exchange.producer.order(Order::Formats);
    let formats: Vec<_> = formats.text("text").split(',').map(str::to_owned).collect();
    assert!(formats.len() > 80, "{} formats", formats.len());
    for (number, format) in formats.iter().enumerate() {
        let caps = format!("video/x-raw,format={format},width=50,height=38,framerate=30/1");
        let frames = Push::of(caps).count(3).seed(number as u64);
        exchange.producer.push(frames);
    }
    exchange.producer.order(Order::end("src"));
    exchange.compare();
    for client in &exchange.clients {
        let buffers = client.buffers("out.sink");
        assert_eq!(buffers.len(), 3 * formats.len());
        for (buffers, format) in buffers.chunks(3).zip(&formats) {
            for buffer in buffers {
                assert_eq!(buffer.get("video-format"), Some(&format[..]), "{buffer}");
                assert_eq!(buffer.text("video-size"), "50x38", "{buffer}");
            }
        }
    }
}

#[test]
fn raw_video_of_every_format_is_written_straight_into_slots() {
    let place = Place::new();
    let mut exchange = Exchange::start(
        &place,
        "report-bytes",
        "videotestsrc pattern=ball ! capsfilter name=filter \
         caps=video/x-raw,format=RGB,width=50,height=38",
    );
    let formats = exchange.producer.order(Order::VideotestsrcFormats);
    let formats: Vec<_> = formats.text("text").split(',').map(str::to_owned).collect();
    assert!(formats.len() > 60, "{} formats", formats.len());
    // The first caps must be negotiated before they change.
    exchange.producer.until_buffers("sink.sink", 1);
    for format in &formats {
        // The source must not get other caps while it negotiates these: it would stop with an error.
        // The first caps of all are among the formats, too.
        let mark = exchange.producer.mark();
        exchange.producer.order(Order::set(
            "filter",
            "caps",
            format!("video/x-raw,format={format},width=50,height=38"),
        ));
        let caps = format!("format=(string){format},");
        let what = format!("{format} is sent");
        exchange.producer.until_since(mark, &what, |line| {
            line.word == "event" && line.text("type") == "caps" && line.text("text").contains(&caps)
        });
        // Caps cross with the first frame that has them.
        let mark = exchange.producer.mark();
        exchange.producer.until_buffers_since(mark, "sink.sink", 1);
    }
    exchange.producer.order(Order::Eos);
    exchange.compare();
    let stats = exchange.producer.stats("sink");
    assert_eq!(stats.number("copied"), 0, "{stats}");
}

#[test]
fn sound_crosses() {
    for format in ["S16LE", "F32LE", "S24BE", "U8"] {
        let place = Place::new();
        let mut exchange = Exchange::start(
            &place,
            "report-bytes",
            &format!(
                "audiotestsrc num-buffers=40 wave=white-noise samplesperbuffer=441 \
                 ! audio/x-raw,format={format},rate=44100,channels=2"
            ),
        );
        exchange.compare();
        assert_eq!(exchange.clients[0].buffers("out.sink").len(), 40);
    }
}

#[test]
fn text_and_things_without_a_name_cross() {
    let place = Place::new();
    let mut exchange = pushing(&place);
    for (seed, (caps, size)) in (0..).zip([
        ("text/x-raw,format=utf8", 17),
        ("text/x-raw,format=pango-markup", 1),
        ("application/x-test", 4097),
        ("application/x-test,answer=(int)42,words=(string)<a,b>", 100),
        ("application/octet-stream", 1_000_000),
        ("application/x-test", 3),
        ("image/jpeg,width=10,height=10", 777),
        ("meta/x-klv,parsed=true", 64),
        ("video/x-raw,format=ENCODED", 64),
    ]) {
        exchange.producer.push(Push::of(caps).size(size).seed(seed));
    }
    exchange.producer.order(Order::end("src"));
    exchange.compare();
    assert_eq!(exchange.clients[0].buffers("out.sink").len(), 9);
}

#[test]
fn buffers_without_bytes_cross() {
    let place = Place::new();
    let mut exchange = pushing(&place);
    let same = Push::default;
    let picture = Push::of("video/x-raw,format=RGB,width=50,height=38,framerate=30/1");
    for buffer in [
        Push::bytes(0),
        same().size(10),
        same()
            .size(0)
            .with(BufferFlags::GAP | BufferFlags::DROPPABLE),
        same().size(0).count(20),
        same().size(5000),
        picture.size(0),
        same(),
    ] {
        exchange.producer.push(buffer);
    }
    exchange.producer.order(Order::end("src"));
    exchange.compare();
    let sizes = exchange.clients[0].buffers("out.sink");
    let sizes: Vec<_> = sizes.iter().map(|line| line.number("size")).collect();
    let mut expected = vec![0, 10, 0];
    expected.extend([0; 20]);
    expected.extend([5000, 0, 152 * 38]);
    assert_eq!(sizes, expected);
}

#[test]
fn buffers_in_several_pieces_cross_whole() {
    let place = Place::new();
    let mut exchange = pushing(&place);
    let same = Push::default;
    let picture = Push::of("video/x-raw,format=I420,width=51,height=37,framerate=30/1");
    for buffer in [
        Push::bytes(1000).memories(2),
        same().size(1000).memories(16),
        same().size(100_003).memories(7),
        same().size(1).memories(1),
        picture.memories(3),
        same().memories(3).pad(12),
        same().memories(9),
    ] {
        exchange.producer.push(buffer);
    }
    exchange.producer.order(Order::end("src"));
    exchange.compare();
    let sent = exchange.producer.buffers("sink.sink");
    assert_eq!(sent[1].number("memories"), 16);
    for buffer in exchange.clients[0].buffers("out.sink") {
        assert_eq!(buffer.number("memories"), 1, "{buffer}");
    }
}

/// Sizes that grow, shrink and are repeated.
const SIZES: [(u32, u32); 7] = [
    (64, 48),
    (640, 480),
    (320, 240),
    (1280, 720),
    (16, 16),
    (1280, 720),
    (641, 359),
];

#[test]
fn no_frame_is_lost_when_copied_frames_change_their_size() {
    let place = Place::new();
    let mut exchange = pushing(&place);
    for (number, (width, height)) in SIZES.iter().enumerate() {
        let format = ["RGB", "I420"][number % 2];
        let caps = format!("video/x-raw,format={format},width={width},height={height}");
        let frames = Push::of(format!("{caps},framerate=30/1")).count(20);
        exchange.producer.push(frames.seed(100 * number as u64));
    }
    exchange.producer.order(Order::end("src"));
    exchange.compare();
    let received = exchange.clients[1].buffers("out.sink");
    assert_eq!(received.len(), 20 * SIZES.len());
}

#[test]
fn no_frame_is_lost_when_zero_copy_frames_change_their_size() {
    let place = Place::new();
    let mut exchange = Exchange::start(
        &place,
        "report",
        "videotestsrc pattern=ball ! capsfilter name=filter \
         caps=video/x-raw,format=I420,width=64,height=48",
    );
    exchange.producer.until_buffers("sink.sink", 1);
    for (number, (width, height)) in SIZES.iter().enumerate() {
        let format = ["RGB", "I420"][number % 2];
        let mark = exchange.producer.mark();
        exchange.producer.order(Order::set(
            "filter",
            "caps",
            format!("video/x-raw,format={format},width={width},height={height}"),
        ));
        let size = format!("width=(int){width}, height=(int){height}, format=(string){format}");
        let size = [size, format!("format=(string){format}, width=(int){width}")];
        exchange
            .producer
            .until_since(mark, "the caps change", |line| {
                line.word == "event"
                    && line.text("type") == "caps"
                    && size.iter().any(|size| line.text("text").contains(size))
            });
        let mark = exchange.producer.mark();
        exchange.producer.until_buffers_since(mark, "sink.sink", 20);
    }
    exchange.producer.order(Order::Eos);
    exchange.compare();
    let stats = exchange.producer.stats("sink");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    // The memory for smaller and for larger frames is not all kept.
    let largest: u64 = 1280 * 720 * 3;
    let slots = stats.number("slots");
    let memory = stats.number("memory");
    assert!(memory <= 4 * slots * largest, "{stats}");
}
