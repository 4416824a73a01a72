//! A client loses no frame as long as its pipeline keeps up, whatever the pipeline's latency and
//! the duration of frames.

use crate::row::{Group, Row};
use crate::streams::*;

/// Sinks that show each buffer this long after it was due, which is the latency of the pipeline.
const MS_200: &str = "sync=true processing-deadline=200000000";
const MS_500: &str = "sync=true processing-deadline=500000000";

/// Sinks that request that latency and do not wait themselves, as a sound card sink does for the
/// samples that its card holds: the other sinks of the pipeline wait.
const AHEAD_200: &str = "sync=true render-delay=200000000";
const AHEAD_500: &str = "sync=true render-delay=500000000";

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |what: &str, streams: &[_], client: String| {
        rows.push(Row::new(Group::Timed, what, streams, client).seconds(4));
    };
    for pictures in [HD_30, HD_60, HD_120] {
        for (latency, sink) in [("200 ms", MS_200), ("500 ms", MS_500)] {
            let streams = [("v", pictures)];
            let client = format!("{{v}} ! fakesink name=out {sink}");
            row(&format!("sink in sync, {latency}"), &streams, client);
            let client = format!("{{v}} ! queue ! fakesink name=out {sink}");
            row(&format!("queue, sink in sync, {latency}"), &streams, client);
        }
    }
    for sound in [SOUND_1, SOUND_2, SOUND_5, SOUND_10, SOUND_20] {
        let streams = [("a", sound)];
        let client = "{a} ! audioconvert ! fakesink name=out sync=true";
        row("sink in sync", &streams, client.into());
        for (latency, sink) in [("200 ms", MS_200), ("500 ms", MS_500)] {
            let client = format!("{{a}} ! audioconvert ! fakesink name=out {sink}");
            row(&format!("sink in sync, {latency}"), &streams, client);
        }
        let client = format!("{{a}} ! queue ! audioconvert ! fakesink name=out {MS_500}");
        row("queue, sink in sync, 500 ms", &streams, client);
    }
    for (pictures, sound) in [(HD_60, SOUND_10), (HD_30, SOUND_1)] {
        for (latency, sink) in [("200 ms", AHEAD_200), ("500 ms", AHEAD_500)] {
            let streams = [("v", pictures), ("a", sound)];
            let client = format!(
                "{{v}} ! fakesink name=out-v sync=true {{a}} ! audioconvert ! fakesink name=out-a {sink}"
            );
            row(
                &format!("picture beside sound of {latency}"),
                &streams,
                client,
            );
            let client = format!(
                "{{v}} ! queue ! fakesink name=out-v sync=true \
                 {{a}} ! queue ! audioconvert ! fakesink name=out-a {sink}"
            );
            let what = format!("queues, picture beside sound of {latency}");
            row(&what, &streams, client);
        }
    }
    for row in &mut rows {
        let is_large = |(_, stream): &(_, Stream)| [HD_30, HD_60, HD_120].contains(stream);
        row.heavy = row.streams.iter().any(is_large);
    }
    // Small rows for the short form.
    rows.extend([
        Row::new(
            Group::Timed,
            "picture beside sound of 500 ms",
            &[("v", PICTURES_30), ("a", SOUND_10)],
            format!(
                "{{v}} ! videoconvert ! fakesink name=out-v sync=true \
                 {{a}} ! audioconvert ! fakesink name=out-a {AHEAD_500}"
            ),
        )
        .short(),
        Row::new(
            Group::Timed,
            "sink in sync, 500 ms",
            &[("a", SOUND_2)],
            format!("{{a}} ! audioconvert ! fakesink name=out {MS_500}"),
        )
        .short(),
    ]);
    rows
}
