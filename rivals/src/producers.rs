//! Kills producers, starts the next one at the same path, and checks that clients reconnect.

use std::time::{Duration, Instant};

use xmem_tests::line::Line;
use xmem_tests::roles::Result;

use crate::actor::{Actor, PATIENCE};
use crate::sheet::Sheet;
use crate::stage::Stage;

/// How many times a producer is replaced under a client that reconnects.
const RESTARTS: usize = 5;
/// A setting of the sink: it sends a frame when the frame arrives.
const AT_ONCE: &str = "sync=false";

/// Kills a producer under a client, then starts the next one at the same path, and a client of its
/// own.
pub fn killed(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let mut producer = stage.producer()?;
    let mut client = stage.client()?;
    let start = Instant::now();
    producer.kill();
    let posted = client.told("posted", PATIENCE)?;
    sheet.add(
        "its client",
        transport,
        match posted {
            Some(line) => format!("after {} ms: {}", start.elapsed().as_millis(), say(&line)),
            None => format!("reports nothing for {} s", PATIENCE.as_secs()),
        },
    );
    drop(client);
    let (files, bytes) = stage.left_in_shm();
    let socket = if stage.socket().exists() {
        "the socket's file"
    } else {
        "no socket"
    };
    let memory = match files {
        0 => "nothing in /dev/shm".into(),
        _ => format!("{files} file in /dev/shm ({:.1} MB)", bytes as f64 / 1e6),
    };
    sheet.add("what is left", transport, format!("{socket}, {memory}"));
    sheet.promise(transport, files == 0, "a crash leaves no memory behind");

    let mut next = stage.start_producer("")?;
    let started = outcome(&mut next, "producing", PATIENCE)?;
    let stale = stage.files().join(", ");
    let started = match started {
        Outcome::Told => format!("starts; sockets: {stale}"),
        Outcome::Posted(line) => format!("**does not start**: {}", say(&line)),
        Outcome::Nothing => format!("**nothing for {} s**", PATIENCE.as_secs()),
    };
    sheet.add("the next producer, at the same path", transport, started);
    let mut client = stage.start_client("")?;
    let found = outcome(&mut client, "receiving", PATIENCE)?;
    sheet.promise(
        transport,
        matches!(found, Outcome::Told),
        "a stale socket is replaced",
    );
    sheet.add(
        "a new client at that path",
        transport,
        found.words("receives"),
    );
    Ok(())
}

/// Kills and replaces a producer several times under a client that is set to reconnect. A socket
/// that would be in the way is removed. The sinks do not wait for the clock: by default each sink
/// delays a live frame by the latency of the pipeline.
pub fn restarted(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let settings = transport.persistent();
    let mut producer = stage.start_producer(AT_ONCE)?;
    producer.told("producing", PATIENCE)?;
    let mut client = stage.start_client(settings)?;
    let first = outcome(&mut client, "receiving", PATIENCE)?;
    let Outcome::Told = first else {
        return Err("a client does not receive although a producer exists".into());
    };
    let mut times = Vec::new();
    let mut failure = None;
    while times.len() < RESTARTS && failure.is_none() {
        producer.kill();
        stage.remove_socket();
        producer = stage.start_producer(AT_ONCE)?;
        let pid = u64::from(producer.pid());
        let produced = producer.told("producing", PATIENCE)?;
        let produced = produced.ok_or("a producer does not start on an empty stage")?;
        let is_next =
            |line: &Line| line.word == "posted" || line.get_number("producer") == Some(pid);
        match client.until(PATIENCE, is_next)? {
            Some(line) if line.word == "receiving" => {
                let late = line.number("at").saturating_sub(produced.number("at"));
                times.push(late as f64 / 1e6);
            }
            Some(line) => failure = Some(say(&line)),
            None => failure = Some(format!("nothing for {} s", PATIENCE.as_secs())),
        }
    }
    times.sort_by(f64::total_cmp);
    let settings = match settings {
        "" => "nothing to set",
        settings => settings,
    };
    let fact = match (failure, &times[..]) {
        (Some(why), _) => format!("does not reconnect ({settings}): {why}"),
        (None, [least, .., most]) => format!(
            "reconnects, {RESTARTS} of {RESTARTS} ({settings}): {least:.1} to {most:.1} ms from \
             the producer's first frame to the client's"
        ),
        (None, _) => "was not tried".into(),
    };
    sheet.promise(transport, times.len() == RESTARTS, "a client reconnects");
    sheet.add("its client", transport, fact);
    Ok(())
}

/// What happened first.
pub enum Outcome {
    /// The expected report.
    Told,
    /// An error or an end of stream.
    Posted(Line),
    /// Neither, in the given time.
    Nothing,
}

impl Outcome {
    /// Describes the outcome; `good` is the text for [`Outcome::Told`].
    pub fn words(&self, good: &str) -> String {
        match self {
            Outcome::Told => good.into(),
            Outcome::Posted(line) => format!("**fails**: {}", say(line)),
            Outcome::Nothing => "**nothing** in the given time".into(),
        }
    }
}

/// Waits until an actor reports `word`, or that it has failed.
pub fn outcome(actor: &mut Actor, word: &str, within: Duration) -> Result<Outcome> {
    let failed = |line: &Line| line.word == "played" && line.get("result") == Some("failure");
    let told = actor.until(within, |line| {
        line.word == word || line.word == "posted" || failed(line)
    })?;
    Ok(match told {
        Some(line) if line.word == word => Outcome::Told,
        // Some elements fail without an error message; others have posted one before.
        Some(line) => Outcome::Posted(line),
        None => Outcome::Nothing,
    })
}

/// Describes what was posted.
pub fn say(line: &Line) -> String {
    match (line.get("what"), line.get("text")) {
        (Some("error"), Some(text)) => format!("error \"{text}\""),
        (Some("eos"), _) => "EOS".into(),
        _ => "the state change fails, without a message".into(),
    }
}
