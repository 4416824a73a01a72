//! Runs a row: its producers, its clients, and the order of their steps.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xmem_tests::roles::{Child, Installation, PATIENCE, Result};

use crate::client_process::Client;
use crate::figures::Figures;
use crate::row::Row;

/// How long a producer runs before a client joins late.
const AGE: Duration = Duration::from_millis(1200);

/// How much longer an uncut pipeline may take on a busy machine.
const UNCUT_PATIENCE: Duration = Duration::from_secs(5);

/// Number of buffers that a client waits for after it joined again.
const ENOUGH: u64 = 3;

/// The phases of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The client was started before the producer.
    First,
    /// The client joins a producer that has run for a while.
    Late,
    /// The producer has ended, and another one has started.
    Reconnected,
    /// The source was set to another channel.
    Switched,
    /// The same pipeline without the cut.
    Uncut,
    /// The uncut pipeline with a gap in its streams.
    Interrupted,
}

impl Phase {
    /// The phases that have a column in the table.
    pub const ALL: [Phase; 5] = [
        Phase::First,
        Phase::Late,
        Phase::Reconnected,
        Phase::Switched,
        Phase::Uncut,
    ];

    /// Whether another producer has replaced the first.
    pub fn is_replaced(self) -> bool {
        [Phase::Reconnected, Phase::Switched].contains(&self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Phase::First => "first",
            Phase::Late => "late",
            Phase::Reconnected => "reconnected",
            Phase::Switched => "switched",
            Phase::Uncut => "uncut",
            Phase::Interrupted => "uncut, with a gap in the stream",
        }
    }
}

/// The observations of a phase.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub figures: Figures,
    /// Why nothing more came.
    pub end: Option<String>,
    /// Whether more buffers left the sources after the time was over.
    pub goes_on: bool,
    /// Whether more buffers arrived at the sinks after the time was over.
    pub arrives: bool,
    /// Whether one of several clients has reported problems of elements or libraries.
    pub complains: bool,
    /// Number of frames that the producer had published by then, or what is wrong with it. Only
    /// asked if there is a fault.
    pub published: Option<String>,
    /// How long each of several clients waited for its first buffer at the sink, in ms.
    pub waits: Vec<u64>,
}

impl Seen {
    /// The observations if the element cannot change its channel in PLAYING.
    fn cannot_switch() -> Seen {
        Seen {
            end: Some("the channel cannot be set in PLAYING".into()),
            ..Seen::default()
        }
    }

    /// Whether the client can continue.
    fn is_well(&self) -> bool {
        self.end.is_none() && self.goes_on && self.arrives
    }
}

/// Runs the pipelines of rows.
pub struct Runner<'a> {
    pub installation: &'a Installation,
    /// Whether the channel of a source can be set while it plays.
    pub can_switch: bool,
    /// The maximum number of times that clients join late.
    pub joins: Option<u32>,
    /// The maximum time for which a phase is watched.
    pub seconds: Option<Duration>,
}

impl Runner<'_> {
    /// Runs the cut pipelines of a row. `crash` says whether its producer is killed or stops in
    /// good order.
    pub fn cut(&self, row: &Row, crash: bool) -> Result<Vec<(Phase, Seen)>> {
        let place = self.place()?;
        let directory = place.path();
        let description = row.cut(&directory.to_string_lossy());
        let start =
            |name: &str| Client::start(self.installation, row, &description, directory, name);
        let time = self.time(row);

        let mut first = start("first")?;
        first.play_first();
        let mut producer = self.producer(row, "", "1", directory)?;
        // Two producers of large pictures at the same time are too much for some machines.
        let mut other = if self.can_switch && !row.heavy {
            Some(self.producer(row, "2", "2", directory)?)
        } else {
            None
        };
        let mut late = start("late")?;
        std::thread::sleep(AGE);
        late.play();
        let mut seen = watch(row, time, PATIENCE, [&mut first, &mut late]);
        let [_, seen_late] = &mut seen;
        self.join_again(row, start("again")?, seen_late);
        if !seen.iter().all(Seen::is_well) {
            let published = published(&mut producer);
            for seen in &mut seen {
                seen.published = Some(published.clone());
            }
        }

        // If a client has stalled already, later phases show nothing.
        let [reconnects, switches] = seen.each_ref().map(Seen::is_well);
        let switches = switches && self.can_switch;
        if switches {
            if other.is_none() {
                other = Some(self.producer(row, "2", "2", directory)?);
                std::thread::sleep(AGE);
            }
            late.mark("switch", "switched");
            // Waits for the client before the producer ends that the client will leave.
            late.until(PATIENCE, |figures| begun(row, figures));
        } else {
            late.give_up();
        }
        let mut next = None;
        if reconnects {
            if crash {
                producer.kill()
            } else {
                producer.end()?
            }
            first.mark("mark", "marked");
            next = Some(self.producer(row, "", "3", directory)?);
        } else {
            first.give_up();
        }
        let [reconnected, switched] = watch(row, time, PATIENCE, [&mut first, &mut late]);
        drop((first, late, other, next));

        let [seen_first, seen_late] = seen;
        let mut all = vec![(Phase::First, seen_first), (Phase::Late, seen_late)];
        if reconnects {
            all.push((Phase::Reconnected, reconnected));
        }
        if !self.can_switch {
            all.push((Phase::Switched, Seen::cannot_switch()));
        } else if switches {
            all.push((Phase::Switched, switched));
        }
        Ok(all)
    }

    /// For how long each phase of a row is watched.
    fn time(&self, row: &Row) -> Duration {
        let time = Duration::from_secs(row.seconds);
        self.seconds.map_or(time, |most| time.min(most))
    }

    /// Joins a client as many times as the row wants, in sequence.
    fn join_again(&self, row: &Row, mut client: Client, seen: &mut Seen) {
        let joins = self.joins.map_or(row.joins, |most| row.joins.min(most));
        for number in 1..joins {
            // Twenty times the same fault say no more than one.
            if !seen.is_well() || seen.complains {
                break;
            }
            join_again(row, number, &mut client, seen);
        }
    }

    /// Runs the uncut pipeline of a row.
    pub fn uncut(&self, row: &Row) -> Result<Seen> {
        let place = self.place()?;
        let description = row.uncut(&place.path().to_string_lossy());
        let mut client =
            Client::start(self.installation, row, &description, place.path(), "uncut")?;
        client.play();
        let [mut seen] = watch(row, self.time(row), UNCUT_PATIENCE, [&mut client]);
        if row.ends && client.end().is_none() {
            client.order("eos", "ended");
            client.look();
            seen.figures = client.figures().clone();
            seen.end = client.end().map(str::to_owned);
        }
        Ok(seen)
    }

    /// Runs the uncut pipeline of a row, and interrupts its streams as the replacement of a
    /// producer does.
    pub fn interrupted(&self, row: &Row) -> Result<Seen> {
        let place = self.place()?;
        let description = row.interruptible(&place.path().to_string_lossy());
        let mut client = Client::start(
            self.installation,
            row,
            &description,
            place.path(),
            "interrupted",
        )?;
        client.play();
        client.until(UNCUT_PATIENCE, |figures| begun(row, figures));
        client.order("interrupt", "interrupted");
        let [seen] = watch(row, self.time(row), UNCUT_PATIENCE, [&mut client]);
        Ok(seen)
    }

    /// Creates a directory for the channels and files of a row.
    fn place(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new()
            .prefix("row-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(self.installation.directory())?)
    }

    fn producer(&self, row: &Row, suffix: &str, number: &str, directory: &Path) -> Result<Child> {
        let description = row.producer(suffix, number);
        let ppm = row.ppm.to_string();
        let mut command = self.installation.role(&["producer", &ppm, &description]);
        let log = directory.join(format!("producer-{number}.log"));
        command
            .env("XMEM_RUNTIME_DIR", directory)
            .current_dir(directory)
            .stderr(std::fs::File::create(log)?);
        let producer = Child::spawn(format!("producer {number}"), command)?;
        producer.report("ready", PATIENCE)?;
        Ok(producer)
    }
}

/// The number of frames that a producer has published, or what is wrong with it.
fn published(producer: &mut Child) -> String {
    let asked = producer.order("published");
    match asked.and_then(|()| producer.report("published", PATIENCE)) {
        Ok(count) => count.trim_start_matches("count frames=").to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Watches clients for some time, and checks whether they continue after that.
fn watch<const N: usize>(
    row: &Row,
    time: Duration,
    patience: Duration,
    mut clients: [&mut Client; N],
) -> [Seen; N] {
    let until = Instant::now() + time;
    let begin = until + patience;
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    for client in &mut clients {
        client.until(left(begin), |figures| begun(row, figures));
    }
    for client in &mut clients {
        client.until(left(until), |_| false);
    }
    let before = clients.each_ref().map(|client| client.figures().clone());
    // From here on a client needs only a moment, unless it stalls.
    let patience = Instant::now() + patience;
    let mut before = before.into_iter();
    clients.map(|client| {
        let before = before.next().unwrap_or_default();
        let more = |now: &[u64], before: &[u64]| {
            now.len() >= before.len() && now.iter().zip(before).all(|(now, then)| now > then)
        };
        let goes_on = client.until(left(patience), |now| more(&now.ins, &before.ins));
        let arrives = client.until(left(patience), |now| {
            more(&now.outs, &before.outs) || row.silent
        });
        Seen {
            waits: client.figures().first_out.into_iter().collect(),
            end: client.end().map(str::to_owned),
            goes_on,
            arrives,
            figures: client.figures().clone(),
            ..Seen::default()
        }
    })
}

/// Whether buffers have left all sources, and arrived at all sinks that must receive.
fn begun(row: &Row, figures: &Figures) -> bool {
    let all = |counts: &[u64]| !counts.is_empty() && counts.iter().all(|count| *count > 0);
    all(&figures.ins) && (row.silent || all(&figures.outs))
}

/// Has a client join, pause in some of the joins, and leave; adds its observations.
fn join_again(row: &Row, number: u32, client: &mut Client, seen: &mut Seen) {
    client.play();
    let enough = |figures: &Figures| {
        let all = |counts: &[u64]| counts.iter().all(|count| *count >= ENOUGH);
        begun(row, figures) && all(&figures.ins) && (row.silent || all(&figures.outs))
    };
    let mut goes_on = client.until(PATIENCE, enough);
    if row.ends && client.end().is_none() {
        if number % 3 == 1 {
            client.order("pause", "paused");
            let ins = client.look().ins.clone();
            goes_on &= client.until(PATIENCE, |figures| {
                figures.ins.iter().zip(&ins).all(|(now, then)| now > then)
            });
        }
        client.order("eos", "ended");
        client.look();
    }
    seen.waits.extend(client.figures().first_out);
    seen.figures = seen.figures.clone().and(client.figures().clone());
    let complains = client.figures().problems.iter();
    let complains = complains
        .filter(|problem| !problem.starts_with("warning of"))
        .count()
        > 0;
    seen.goes_on &= goes_on;
    seen.complains |= complains;
    if let (None, Some(end)) = (&seen.end, client.end()) {
        seen.end = Some(format!("join {}: {end}", number + 1));
    }
    client.order("stop", "stopped");
}
