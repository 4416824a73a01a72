//! One turn: a channel, its clients, and timed frames.

use std::time::Duration;

use xmem_tests::attacked::{Attacked, Hostile, report};
use xmem_tests::client::Time;
use xmem_tests::producer::Publish;
use xmem_tests::{Client, Line, ProducerOrder, process, until};

use crate::attack::{Attack, Beside};
use crate::figures::Figures;

/// For how long frames are timed.
pub const SECONDS: u64 = 1;
/// The time between two frames, in µs.
const PERIOD_US: u64 = 2000;
/// Number of frames during which memory is made and mapped.
const WARM_UP: u64 = 50;
const FRAMES: u64 = SECONDS * 1_000_000 / PERIOD_US;
/// If a client receives nothing for this long, in ms, it stops waiting.
const SILENCE: u64 = 3000;

/// The client that joins between the honest clients.
enum Fourth {
    Honest(Client),
    Hostile(Hostile),
}

impl Fourth {
    /// Joins the fourth client to a channel.
    fn join(channel: &mut Attacked, attack: &Attack, is_attacked: bool) -> Fourth {
        let role = match (is_attacked, attack.beside) {
            (true, _) => attack.role.to_owned(),
            (false, Beside::Idle) => "idle".to_owned(),
            (false, Beside::Elsewhere) => format!("{} elsewhere=1", attack.role),
            (false, Beside::Honest) => {
                channel.add_honest("");
                return Fourth::Honest(channel.honest.pop().expect("an honest client was added"));
            }
        };
        Fourth::Hostile(channel.attack(&role))
    }

    fn honest(&mut self) -> Option<&mut Client> {
        match self {
            Fourth::Honest(peer) => Some(peer),
            Fourth::Hostile(_) => None,
        }
    }

    /// Asks the client what it has done.
    fn report(&mut self) -> Line {
        match self {
            Fourth::Honest(_) => Line::new("honest"),
            Fourth::Hostile(peer) => report(peer),
        }
    }
}

/// Takes one turn and adds its figures.
pub fn take(attack: &Attack, is_attacked: bool, figures: &mut Figures) {
    let mut channel = Attacked::open(attack.slots, attack.channel);
    let mut fourth;
    let mut from = 0;
    if is_attacked && attack.holds > 0 {
        let mut hostile = channel.attack(attack.role);
        from = fill(&mut channel, &mut hostile, attack.holds);
        fourth = Fourth::Hostile(hostile);
        for _ in 0..3 {
            channel.add_honest_at(from);
        }
    } else {
        channel.add_honest("");
        channel.add_honest("");
        fourth = Fourth::join(&mut channel, attack, is_attacked);
        channel.add_honest("");
    }
    let missed = figures.missed;
    time(&mut channel, fourth.honest(), from, figures);
    let missed = figures.missed - missed;
    let condition = if is_attacked {
        "attacked".to_owned()
    } else {
        attack.beside.to_string()
    };
    let waited = channel.honest.iter().map(waited).max().unwrap_or_default();
    let (stats, report) = (channel.stats(), fourth.report());
    eprintln!(
        "{}, {condition}: {missed} missed; a client waited {waited:.0?} for a processor; {report}; {stats}",
        attack.title
    );
}

/// How long a client waited for a processor. A client that waits for long misses frames without any
/// attack.
fn waited(client: &Client) -> Duration {
    process::waited_for_a_processor(client.pid(), "worker")
}

/// Publishes until the hostile client holds `holds` frames. Returns how many frames that took.
fn fill(channel: &mut Attacked, hostile: &mut Hostile, holds: u64) -> u64 {
    channel.producer.run(Publish::frames(0, 1000).period_us(50));
    until("the hostile client holds as many frames as it may", || {
        report(hostile).number("effects") == holds
    });
    channel.producer.halt().number("next")
}

/// Publishes frames from number `from` on and times them. `other` receives them too, but is not
/// measured.
fn time(channel: &mut Attacked, mut other: Option<&mut Client>, from: u64, figures: &mut Figures) {
    let after = from + WARM_UP;
    let until = after + FRAMES;
    for client in channel.honest.iter_mut().chain(other.as_deref_mut()) {
        client.begin(Time {
            from,
            until,
            after,
            timeout_ms: SILENCE,
        });
    }
    let count = WARM_UP + FRAMES;
    let frames = Publish::frames(count, 1000).period_us(PERIOD_US);
    let order = ProducerOrder::Time(frames.warm_up(WARM_UP));
    figures.add_published(FRAMES, &channel.producer.ask(order));
    for client in &mut channel.honest {
        figures.add_received(count, &client.wait_for("timed"));
    }
    if let Some(other) = other {
        other.wait_for("timed");
    }
}
