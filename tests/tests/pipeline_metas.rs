//! The metas of buffers arrive in the client as they were in the producer.

use xmem_tests::pipeline::{LOSSLESS, PUSHING, Pipeline, Push};
use xmem_tests::{Place, metas};

/// A producer of what the test pushes, a process that forwards it to another channel, and a client
/// of each.
struct Chain {
    producer: Pipeline,
    first: Pipeline,
    _middle: Pipeline,
    second: Pipeline,
}

impl Chain {
    fn start(place: &Place) -> Chain {
        let client = |channel: &str| {
            let client = format!("xmemsrc channel={channel} ! fakesink name=out");
            Pipeline::play(place, &["inspect out.sink"], &client)
        };
        let second = client("cam1");
        let middle = format!(
            "xmemsrc channel=cam0 ! identity ! xmemsink name=sink channel=cam1 {LOSSLESS} \
             wait-for-connection=true"
        );
        let middle = Pipeline::play(place, &[], &middle);
        let first = client("cam0");
        let producer = format!("{PUSHING} {LOSSLESS}");
        let producer = Pipeline::play_for(2, place, &["inspect sink.sink"], &producer);
        Chain {
            producer,
            first,
            _middle: middle,
            second,
        }
    }

    /// Pushes buffers, waits until they have arrived, and returns the content of their metas in the
    /// producer and in both clients.
    fn push(&mut self, buffers: Push) -> [Vec<String>; 3] {
        let Chain {
            producer,
            first,
            second,
            ..
        } = self;
        let count = buffers.count as usize;
        let mark = [producer.mark(), first.mark(), second.mark()];
        let before = [
            producer.buffers("sink.sink").len(),
            first.buffers("out.sink").len(),
            second.buffers("out.sink").len(),
        ];
        producer.push(buffers);
        let pads = ["sink.sink", "out.sink", "out.sink"];
        let mut all = [producer, first, second];
        std::array::from_fn(|at| {
            let pipeline = &mut all[at];
            pipeline.until_buffers_since(mark[at], pads[at], count);
            let buffers = pipeline.buffers(pads[at]);
            let told = buffers[before[at]..].iter();
            told.map(|line| line.get("metas").unwrap_or("none").to_owned())
                .collect()
        })
    }
}

/// Pushes a buffer with metas of a kind, and checks that both clients have the metas of the
/// producer, with these words in their content.
fn cross(kinds: &[&str], words: &[&str]) {
    let place = Place::new();
    let mut chain = Chain::start(&place);
    let [sent, first, second] = chain.push(Push::bytes(100).count(3).metas(kinds));
    for word in words {
        assert!(sent[0].contains(word), "{word} in {}", sent[0]);
    }
    assert_eq!(first, sent, "{kinds:?}");
    assert_eq!(second, sent, "{kinds:?}, forwarded");
}

#[test]
fn regions_of_interest_cross() {
    let words = ["face", "(2,_2,_3,_4)", "parent_id:_-1", "second", "0.5"];
    cross(&["regions"], &words);
}

#[test]
fn affine_transformations_cross() {
    cross(&["affine"], &["0.25", "-7.5"]);
}

#[test]
fn time_codes_cross() {
    let words = [
        "numer:_30000",
        "DROP_FRAME",
        "frames:_17",
        "58_500000_+0530",
    ];
    cross(&["time-codes"], &words);
}

#[test]
fn overlays_cross_with_their_pixels() {
    let words = ["PREMULTIPLIED", "0.5", "(-3,_4,_9,_8)", "60:"];
    cross(&["overlays"], &words);
}

#[test]
fn overlays_of_ten_mebibytes_cross() {
    cross(&["huge-overlay"], &["10483200:"]);
}

#[test]
fn captions_cross() {
    cross(&["captions"], &["Cea708Cdp", "[150,_105]"]);
}

#[test]
fn active_formats_and_bars_cross() {
    cross(
        &["active-format", "bars"],
        &["_43Full149Center", "4294967295"],
    );
}

#[test]
fn user_data_of_encoders_crosses() {
    cross(&["user-data"], &["0x0707070707", "[117,"]);
}

#[test]
fn layouts_of_audio_cross() {
    cross(&["audio"], &["S16LE", "samples:_10", "offsets:_[40,_4]"]);
}

#[test]
fn levels_and_clippings_of_audio_cross() {
    cross(
        &["level", "clippings"],
        &["99", "voice_activity:_true", "Default(1)"],
    );
}

#[test]
fn reference_timestamps_cross() {
    cross(&["timestamps"], &["x-ntp", "x-ptp", "0:00:01.000000000"]);
}

#[test]
fn protection_crosses() {
    cross(&["protection"], &["[9,_9,"]);
}

#[test]
fn custom_metas_cross_to_clients_that_have_not_registered_them() {
    cross(&["custom"], &["XmTestCustom", "answer", "42", "video"]);
}

#[test]
fn custom_metas_of_no_bytes_and_of_ten_mebibytes_cross() {
    cross(
        &["empty-custom", "huge-custom"],
        &["XmTestNothing", "10485760:"],
    );
}

#[cfg(feature = "v1_24")]
#[test]
fn ancillary_data_crosses() {
    cross(&["ancillary"], &["InterlacedSecond", "1023"]);
}

#[cfg(feature = "v1_26")]
#[test]
fn analytics_cross_with_their_relations() {
    let words = [
        "car",
        "x:_-1",
        "red_ä",
        "18446744073709551615",
        "0_RelTypes(CONTAIN)_2",
    ];
    cross(&["analytics"], &words);
}

#[cfg(feature = "v1_26")]
#[test]
fn tensors_cross() {
    cross(
        &["tensors"],
        &["boxes", "Float32", "[3,_4]", "ColMajor", "[0,_1]"],
    );
}

#[test]
fn metas_of_all_kinds_cross_together_and_with_raw_video() {
    let place = Place::new();
    let mut chain = Chain::start(&place);
    let kinds = metas::KINDS.iter().map(|(name, _)| *name);
    let kinds = kinds.filter(|name| !name.starts_with("huge"));
    let kinds = kinds.collect::<Vec<_>>();
    let frame = Push::of("video/x-raw,format=RGB,width=64,height=48,framerate=30/1");
    let frame = frame.pad(16).crop((1, 2, 3, 4)).metas(&kinds);
    let [sent, first, second] = chain.push(frame);
    assert!(sent[0].len() > 1000, "{sent:?}");
    assert_eq!(first, sent);
    assert_eq!(second, sent);
    let line = chain.second.buffers("out.sink").pop().cloned();
    let line = line.expect("a buffer has arrived");
    assert_eq!(line.text("video-strides"), "208");
    assert_eq!(line.text("video-crop"), "1,2,3,4");
}

#[test]
fn buffers_with_metas_and_without_follow_one_another() {
    let place = Place::new();
    let mut chain = Chain::start(&place);
    let kinds: [&[&str]; 6] = [
        &["captions"],
        &[],
        &["custom", "regions"],
        &[],
        &["huge-custom"],
        &[],
    ];
    for kinds in kinds {
        let [sent, first, second] = chain.push(Push::bytes(100).count(2).metas(kinds));
        assert_eq!(sent[0] == "none", kinds.is_empty(), "{sent:?}");
        assert_eq!(first, sent, "{kinds:?}");
        assert_eq!(second, sent, "{kinds:?}");
    }
}
