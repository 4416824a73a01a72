//! Compares when two pipelines show their buffers.

use crate::line::Line;
use crate::pipeline::Pipeline;

/// A millisecond, in nanoseconds.
pub const MS: i128 = 1_000_000;
/// A producer of one picture and one piece of sound for every 20 ms.
pub const PRODUCER: &str = "\
    videotestsrc name=v is-live=true ! video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1 \
    ! xmemsink name=video channel=video \
    audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
    ! xmemsink name=audio channel=audio";
/// A client that shows both.
pub const CLIENT: &str = "xmemsrc channel=video ! fakesink name=video sync=true \
                      xmemsrc channel=audio ! fakesink name=audio sync=true";
/// The pads where the buffers arrive, in both processes.
pub const PADS: [&str; 2] = ["video.sink", "audio.sink"];

/// How far the times at which the client shows the buffers of a pad are from the times at which the
/// producer shows them, in nanoseconds. The median of all buffers since `since`.
pub fn error(producer: &Pipeline, client: &Pipeline, pad: &str, since: usize) -> i128 {
    let due = |line: &Line| line.text("due-monotonic").parse::<i128>().ok();
    let sent = producer.buffers(pad);
    let received = client.buffers(pad);
    let errors = received.iter().skip(since).filter_map(|received| {
        // After a restart of the stream two frames may be alike; the last one counts.
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

/// Waits until the client has received `count` more buffers on each pad. Returns the numbers before
/// that.
pub fn receive(producer: &mut Pipeline, client: &mut Pipeline, count: usize) -> [usize; 2] {
    let before = PADS.map(|pad| client.buffers(pad).len());
    for (pad, before) in PADS.iter().zip(before) {
        client.until_buffers(pad, before + count);
        // The producer has reported these buffers, or will soon.
        await_last(producer, client, pad);
    }
    before
}

/// Waits until the producer has reported the last buffer that has passed a pad of the client.
pub fn await_last(producer: &mut Pipeline, client: &Pipeline, pad: &str) {
    let buffers = client.buffers(pad);
    let last = buffers.last().expect("at least one buffer");
    producer.until("the producer reports the same buffer", |line| {
        ["at", "digest", "offset"]
            .iter()
            .all(|key| line.get(key) == last.get(key))
    });
}

/// Checks that the client shows the buffers since `since` when the producer shows them.
///
/// # Panics
/// If it does not.
pub fn assert_in_sync(producer: &Pipeline, client: &Pipeline, since: [usize; 2], what: &str) {
    let [video, audio] = [0, 1].map(|n| error(producer, client, PADS[n], since[n]));
    assert!(
        video.abs() < MS && audio.abs() < MS,
        "{what}: {video} ns, {audio} ns"
    );
    assert!(
        (video - audio).abs() < MS,
        "{what}: picture and sound are {} ns apart",
        video - audio
    );
}
