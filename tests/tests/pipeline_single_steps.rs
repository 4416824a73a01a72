//! A producer dies at every instruction of publishing and of closing. Each source has the published
//! frames, whole, and then acts as its `on-disconnect` says.
//!
//! Forty points of each stretch are tried, or all of them with `make torture`.

use std::time::Duration;

use xmem_core::Publisher;
use xmem_tests::pipeline::{Pipeline, State};
use xmem_tests::steps::Stepped;
use xmem_tests::{Place, pattern};

const VICTIM: &str = env!("CARGO_BIN_EXE_xmem-test-victim");
/// The size of a frame in bytes. It has no extra bytes, which would have to be metas.
const SIZE: usize = 96;
/// Number of frames that the victim has published before its stretch.
const BEFORE: usize = 12;

fn client(place: &Place, on_disconnect: &str) -> Pipeline {
    let description = format!(
        "xmemsrc name=src channel=cam0 connection-timeout=18446744073709551615 \
         on-disconnect={on_disconnect} ! fakesink name=out sync=false enable-last-sample=false"
    );
    Pipeline::start(place, &["report out.sink"], &description)
}

/// The digests of a client's buffers since a mark.
fn digests(client: &Pipeline, from: usize) -> Vec<String> {
    let buffers = client.buffers("out.sink");
    let digests = buffers[from..].iter().map(|line| line.text("digest"));
    digests.map(str::to_owned).collect()
}

/// The digests of the frames, from a producer that does not die.
fn expected(place: &Place) -> Vec<String> {
    let publisher = Publisher::builder(place.channel("cam0"))
        .open()
        .expect("a channel");
    let mut client = client(place, "eos");
    client.change(State::Playing);
    publisher
        .wait_for_clients(1, Some(Duration::from_secs(30)))
        .expect("a client comes");
    for number in 0..=BEFORE {
        pattern::publish(&publisher, number as u64, SIZE, 0).expect("a frame");
        client.until_buffers("out.sink", number + 1);
    }
    digests(&client, 0)
}

/// Waits for the message of a source at its end. After an error the base class posts another
/// message and sends EOS, which may be reported as late as in the next round.
fn until_told(client: &mut Pipeline, mark: usize, kind: &str) {
    client.until_since(mark, &format!("{kind} is told"), |line| {
        let is_told = line.word == "message" && line.text("type") == kind;
        is_told && line.get("kind") != Some("Stream.Failed")
    });
}

/// Tries the points of a stretch.
fn try_producer(place: &Place, expected: &[String], stretch: &str) {
    let mut ends = [client(place, "eos"), client(place, "error")];
    let mut persists = client(place, "reconnect");
    persists.change(State::Playing);
    let mut connections = 0;
    let mut run = |measure: &mut dyn FnMut(&mut Stepped)| {
        let marks = [ends[0].mark(), ends[1].mark()];
        let seen = [0, 1].map(|end| ends[end].buffers("out.sink").len());
        for end in &mut ends {
            end.change(State::Playing);
        }
        let arguments = format!("producer cam0 {stretch} 3 0");
        let mut victim = Stepped::start(VICTIM, place, &arguments);
        connections += 1;
        measure(&mut victim);
        victim.kill();
        for (number, kind) in ["eos", "error"].into_iter().enumerate() {
            let end = &mut ends[number];
            until_told(end, marks[number], kind);
            let digests = digests(end, seen[number]);
            assert!(digests.len() >= BEFORE, "{} frames", digests.len());
            assert_eq!(digests, expected[..digests.len()]);
            end.change(State::Null);
        }
        persists.until_stats("src", "the source waits for the next connection", |stats| {
            stats.number("connections") == connections && stats.text("connected") == "FALSE"
        });
    };
    let mut measured = None;
    run(&mut |victim| measured = Some(victim.measure()));
    let measured = measured.expect("the stretch was measured");
    let (mut reached, points) = (0, measured.tried());
    for &point in &points {
        run(&mut |victim| reached += usize::from(victim.run_to(point)));
    }
    measured.judge(stretch, points.len(), reached);
    assert!(persists.messages().is_empty(), "{:?}", persists.messages());
}

#[test]
fn a_source_does_as_told_when_its_producer_dies_at_any_instruction() {
    let place = Place::new();
    let expected = expected(&place);
    for stretch in ["publish", "close"] {
        try_producer(&place, &expected, stretch);
    }
}
