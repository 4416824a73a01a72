//! Watches a producer and a client for a while, to see whether the stream continues.

use std::time::{Duration, Instant};

use xmem_tests::roles::Result;

use crate::actor::{Actor, Figures};
use crate::memory::{Growth, Possessions};

/// How long the undisturbed stream is watched.
pub const USUAL: Duration = Duration::from_secs(1);
/// How long a disturbance is watched, unless the stream stops earlier.
pub const DISTURBED: Duration = Duration::from_secs(8);

/// The interval at which the figures are read.
const INTERVAL: Duration = Duration::from_millis(50);

/// What was observed.
#[derive(Debug)]
pub struct Watch {
    producer: Seen,
    client: Seen,
    time: Duration,
    /// What the producer has gained.
    pub growth: Growth,
}

/// The observation of one of the two.
#[derive(Debug)]
enum Seen {
    Alive(Figures),
    Dead(String),
}

impl Seen {
    fn look(actor: &mut Actor) -> Result<Seen> {
        Ok(match actor.figures()? {
            Some(figures) => Seen::Alive(figures),
            None => Seen::Dead(actor.death().unwrap_or_else(|| "does not answer".into())),
        })
    }

    fn still(&self) -> bool {
        match self {
            Seen::Alive(figures) => figures.still(),
            Seen::Dead(_) => true,
        }
    }
}

/// Watches both since a moment.
pub struct Watcher {
    before: Possessions,
    start: Instant,
}

impl Watcher {
    /// Starts to watch.
    pub fn begin(producer: &mut Actor, client: &mut Actor) -> Result<Watcher> {
        let before = Possessions::of(producer.pid());
        producer.reset()?;
        client.reset()?;
        Ok(Watcher {
            before,
            start: Instant::now(),
        })
    }

    /// Ends the watch and returns what was observed.
    pub fn look(&self, producer: &mut Actor, client: &mut Actor) -> Result<Watch> {
        Ok(Watch {
            producer: Seen::look(producer)?,
            client: Seen::look(client)?,
            time: self.start.elapsed(),
            growth: Possessions::of(producer.pid()).since(self.before),
        })
    }
}

/// Watches both for at most `most`; ends earlier if the producer stops.
pub fn watch(producer: &mut Actor, client: &mut Actor, most: Duration) -> Result<Watch> {
    let watcher = Watcher::begin(producer, client)?;
    loop {
        let watch = watcher.look(producer, client)?;
        if let Seen::Dead(_) = watch.producer {
            // The cause of its death may be on its way to the client.
            std::thread::sleep(Duration::from_secs(1));
            return watcher.look(producer, client);
        }
        if watch.time >= most || watch.producer.still() {
            return Ok(watch);
        }
        std::thread::sleep(INTERVAL);
    }
}

impl Watch {
    /// Whether the producer continues.
    pub fn goes_on(&self) -> bool {
        !self.producer.still()
    }

    /// Whether the client receives, and all frames are whole.
    pub fn is_served(&self) -> bool {
        match &self.client {
            Seen::Alive(figures) => !figures.still() && figures.damaged == 0,
            Seen::Dead(_) => false,
        }
    }

    /// Frames per second of the producer.
    fn rate(&self) -> f64 {
        match &self.producer {
            Seen::Alive(figures) => figures.frames as f64 / self.time.as_secs_f64(),
            Seen::Dead(_) => 0.0,
        }
    }

    /// Describes the state of the producer.
    pub fn producer(&self, before: &Watch) -> String {
        match &self.producer {
            Seen::Dead(how) => format!("dead: {how}"),
            Seen::Alive(figures) if figures.still() => format!(
                "**blocked** after {} frames ({:.1} s)",
                figures.frames,
                self.time.as_secs_f64() - figures.age as f64 / 1e3
            ),
            Seen::Alive(figures) => format!(
                "continues: {:.0} frames/s before, {:.0} during; longest gap {} ms",
                before.rate(),
                self.rate(),
                figures.gap
            ),
        }
    }

    /// Describes the state of the client.
    pub fn client(&self) -> String {
        match &self.client {
            Seen::Dead(how) => format!("dead: {how}"),
            Seen::Alive(figures) => {
                let Figures {
                    frames,
                    missed,
                    damaged,
                    gap,
                    ..
                } = figures;
                // The number in a frame that is not whole has no meaning.
                let content = match damaged {
                    0 => format!("{missed} missed"),
                    count => format!("**{count} not whole**"),
                };
                if figures.still() {
                    format!("**receives nothing more** after {frames} frames, {content}")
                } else {
                    format!("{frames} frames, {content}; longest gap {gap} ms")
                }
            }
        }
    }
}
