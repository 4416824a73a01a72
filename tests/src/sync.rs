//! When two pipelines show what they show.

use crate::line::Line;
use crate::pipeline::Pipeline;

/// A millisecond, in nanoseconds.
pub const MS: i128 = 1_000_000;
/// A picture and a sound for every 20 ms.
pub const PRODUCER: &str = "\
    videotestsrc name=v is-live=true ! video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1 \
    ! xmemsink name=video channel=video \
    audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
    ! xmemsink name=audio channel=audio";
/// Shows both.
pub const CLIENT: &str = "xmemsrc channel=video ! fakesink name=video sync=true \
                      xmemsrc channel=audio ! fakesink name=audio sync=true";
/// Where they arrive, on both sides.
pub const PADS: [&str; 2] = ["video.sink", "audio.sink"];

/// How far the buffers that have passed a pad of the client are from being shown when the producer
/// shows them, in nanoseconds: the middle one of all.
pub fn error(producer: &Pipeline, client: &Pipeline, pad: &str, since: usize) -> i128 {
    let due = |line: &Line| line.text("due-monotonic").parse::<i128>().ok();
    let sent = producer.buffers(pad);
    let received = client.buffers(pad);
    let errors = received.iter().skip(since).filter_map(|received| {
        // After a restart of the stream, two frames may be alike: the last one counts.
        let mut there = sent.iter().rev();
        let sent = there.find(|sent| {
            sent.text("digest") == received.text("digest")
                && sent.text("offset") == received.text("offset")
        })?;
        Some(due(received)? - due(sent)?)
    });
    let mut errors: Vec<_> = errors.collect();
    errors.sort_unstable();
    assert!(errors.len() > 5, "{} buffers of {pad}", errors.len());
    errors[errors.len() / 2]
}

/// Waits until the client has received so many buffers more on each pad; tells how many before.
pub fn receive(producer: &mut Pipeline, client: &mut Pipeline, count: usize) -> [usize; 2] {
    let before = PADS.map(|pad| client.buffers(pad).len());
    for (pad, before) in PADS.iter().zip(before) {
        client.until_buffers(pad, before + count);
        // What was sent is told by now, or soon.
        await_last(producer, client, pad);
    }
    before
}

/// Waits until the producer has told of what has passed a pad of the client last.
pub fn await_last(producer: &mut Pipeline, client: &Pipeline, pad: &str) {
    let buffers = client.buffers(pad);
    let last = buffers.last().expect("one at least");
    producer.until("the same is told by the producer", |line| {
        ["at", "digest", "offset"]
            .iter()
            .all(|key| line.get(key) == last.get(key))
    });
}

/// Fails where the client does not show what has passed its pads since then when the producer shows it.
pub fn assert_in_sync(producer: &Pipeline, client: &Pipeline, since: [usize; 2], what: &str) {
    let [video, audio] = [0, 1].map(|n| error(producer, client, PADS[n], since[n]));
    assert!(
        video.abs() < MS && audio.abs() < MS,
        "{what}: {video} ns, {audio} ns"
    );
    assert!(
        (video - audio).abs() < MS,
        "{what}: lips are {} ns off",
        video - audio
    );
}
