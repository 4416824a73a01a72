//! A pipeline that is cut in two, and the times at which its buffers are shown.

use std::ffi::OsStr;
use std::process::Command;

use rustix::process::geteuid;
use xmem_tests::pipeline::{Clock, Order, Pipeline, Seek, State};
use xmem_tests::sync::{CLIENT, MS, PADS, PRODUCER, assert_in_sync, error, receive};
use xmem_tests::{Place, until};

#[test]
fn frames_are_shown_at_the_same_moment_whatever_the_clocks() {
    let clocks = [(false, 0), (true, 0), (false, 1000)];
    let clocks = clocks.map(|(is_realtime, ppm)| Clock { is_realtime, ppm });
    for theirs in clocks {
        for ours in clocks {
            let place = Place::new();
            let watches = ["report video.sink", "report audio.sink"];
            let mut client = Pipeline::start(&place, &watches, CLIENT);
            client.order(ours);
            client.change(State::Playing);
            let mut producer = Pipeline::start(&place, &watches, PRODUCER);
            producer.order(theirs);
            producer.change(State::Playing);
            receive(&mut producer, &mut client, 2);
            let since = receive(&mut producer, &mut client, 40);
            assert_in_sync(
                &producer,
                &client,
                since,
                &format!("{theirs:?}, here {ours:?}"),
            );
        }
    }
}

/// Plays a pipeline, with the clock of the sound card if it has one.
fn play_by_card(place: &Place, description: &str) -> Pipeline {
    let watches = ["report video.sink", "report audio.sink"];
    let mut pipeline = Pipeline::start(place, &watches, description);
    if description.contains("name=card") {
        pipeline.change(State::Paused);
        // The card provides its clock once it knows the format.
        until("the card is prepared", || {
            pipeline.order(Order::ClockOf("card".into())).text("type") == "GstAudioClock"
        });
    }
    pipeline.change(State::Playing);
    pipeline
}

/// The clock of a sound card follows the played samples, and its rate differs slightly from that of
/// other clocks.
#[test]
fn frames_are_shown_at_the_same_moment_where_a_sound_card_has_the_clock() {
    let card = |ppm: u32| {
        format!(
            "audiotestsrc ! audio/x-raw,format=S16LE,rate=48000,channels=2 \
             ! soundcard name=card ppm={ppm}"
        )
    };
    let (fast, slow) = (card(500), card(0));
    for (theirs, ours) in [(&*fast, ""), ("", &*fast), (&fast, &slow)] {
        let place = Place::new();
        let mut client = play_by_card(&place, &format!("{CLIENT} {ours}"));
        let mut producer = play_by_card(&place, &format!("{PRODUCER} {theirs}"));
        receive(&mut producer, &mut client, 20);
        let since = receive(&mut producer, &mut client, 40);
        let what = format!("theirs {theirs:?}, ours {ours:?}");
        assert_in_sync(&producer, &client, since, &what);
    }
}

#[test]
fn a_producer_that_pauses_and_goes_on_stays_in_sync() {
    let place = Place::new();
    let watches = ["report video.sink", "report audio.sink"];
    let mut client = Pipeline::play(&place, &watches, CLIENT);
    let mut producer = Pipeline::play(&place, &watches, PRODUCER);
    receive(&mut producer, &mut client, 2);
    for (round, time) in [50_000_000, 0, 10_000_000, 30_000_000, 50_000_000]
        .into_iter()
        .enumerate()
    {
        producer.change_promptly(State::Paused);
        // The clock of the producer continues meanwhile, for at least that long after the last
        // frame.
        let start = client.buffers(PADS[0]).len();
        until("some time passes", || {
            let now = xmem_core::monotonic_time();
            let last = client.buffers(PADS[0])[start - 1].number("now");
            now.as_nanos() as u64 > last + time
        });
        producer.change_promptly(State::Playing);
        receive(&mut producer, &mut client, 5);
        let since = receive(&mut producer, &mut client, 10);
        assert_in_sync(&producer, &client, since, &format!("round {round}"));
    }
}

#[test]
fn a_stream_at_another_rate_is_in_sync() {
    let place = Place::new();
    let watches = ["report video.sink"];
    let mut client = Pipeline::play(
        &place,
        &watches,
        "xmemsrc name=src channel=video ! fakesink name=video sync=true",
    );
    let mut producer = Pipeline::play(
        &place,
        &watches,
        "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1 \
         ! xmemsink name=video channel=video",
    );
    client.until_buffers(PADS[0], 5);
    for (round, rate) in [2.0, 0.5, 4.0, 1.0].into_iter().enumerate() {
        let mark = producer.mark();
        let sought = producer.order(Seek::to(0).rate(rate));
        assert_eq!(sought.text("done"), "true");
        let mut flushes = 0;
        client.until("the client is flushed", |line| {
            flushes += usize::from(line.get("type") == Some("flush-stop"));
            flushes > round
        });
        let before = client.buffers(PADS[0]).len();
        client.until_buffers(PADS[0], before + 20);
        let last = client.buffers(PADS[0])[before + 19].text("pts").to_owned();
        producer.until_since(mark, "the producer reports the same buffer", |line| {
            line.get("pts") == Some(&last)
        });
        let error = error(&producer, &client, PADS[0], before + 10);
        assert!(error.abs() < MS, "{error} ns at rate {rate}");
    }
}

/// The command that runs the process of the pipeline in a time namespace, whose monotonic clock is
/// ahead by `AHEAD` seconds.
fn elsewhere(command: Command) -> Command {
    let mut there = in_time_namespace(command.get_program());
    there.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => there.env(name, value),
            None => there.env_remove(name),
        };
    }
    there
}

/// In seconds.
const AHEAD: i128 = 100_000;

fn in_time_namespace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--time", &format!("--monotonic={AHEAD}")]);
    command.args(["--fork", "--kill-child"]).arg(program);
    command
}

/// The monotonic clocks of the two processes are far apart, and frames are shown at the same
/// moment.
#[test]
fn a_client_in_another_time_namespace_shows_frames_when_the_producer_does() {
    let can = in_time_namespace("true").status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("not tried: time namespaces are not available");
        return;
    }
    let here = |command: Command| command;
    for (producer_is_there, ahead) in [(false, AHEAD), (true, -AHEAD)] {
        let place = Place::new();
        let watches = PADS.map(|pad| format!("report {pad}"));
        let watches = watches.each_ref().map(String::as_str);
        let start = |description, is_there| {
            let prepare = if is_there { elsewhere } else { here };
            let mut pipeline = Pipeline::start_as(&place, &watches, description, prepare);
            pipeline.change(State::Playing);
            pipeline
        };
        let mut producer = start(PRODUCER, producer_is_there);
        let mut client = start(CLIENT, !producer_is_there);
        receive(&mut producer, &mut client, 20);
        for pad in PADS {
            // The clocks were compared with an error of up to half of the time that the handshake
            // took.
            let error = error(&producer, &client, pad, 0) - ahead * 1000 * MS;
            assert!(error.abs() < 50 * MS, "{pad}: {error} ns");
        }
    }
}
