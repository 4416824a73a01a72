//! Stops and kills clients beside another client.

use std::time::{Duration, Instant};

use xmem_tests::roles::Result;

use crate::actor::PATIENCE;
use crate::memory::Possessions;
use crate::sheet::Sheet;
use crate::stage::{Stage, until_receiving};
use crate::watch::{DISTURBED, USUAL, Watch, Watcher, watch};

/// Of the clients that are killed, how many run at the same time.
const AT_ONCE: usize = 4;
/// How long a producer may take to notice the death of its clients.
const NOTICE: Duration = Duration::from_secs(3);

/// Control: no client is disturbed.
pub fn left_alone(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let mut producer = stage.producer()?;
    let (mut client, _other) = (stage.client()?, stage.client()?);
    let usual = watch(&mut producer, &mut client, 4 * USUAL)?;
    sheet.add("the producer", transport, usual.producer(&usual));
    sheet.add("a client", transport, usual.client());
    sheet.promise(
        transport,
        usual.goes_on() && usual.is_served(),
        "the stream continues undisturbed",
    );
    Ok(())
}

/// Stops one of two clients until the producer blocks or the time is over, and then continues it.
/// Repeats this without upstream's pool if that makes a difference.
pub fn stopped(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let usual = stop_one(stage)?;
    sheet.add(
        "the producer",
        transport,
        usual.during.producer(&usual.before),
    );
    sheet.add("the other client", transport, usual.during.client());
    sheet.add("the producer's memory", transport, usual.during.growth);
    sheet.add("after SIGCONT: that client", transport, &usual.client_after);
    sheet.add(
        "after SIGCONT: the producer",
        transport,
        &usual.producer_after,
    );
    sheet.promise(
        transport,
        usual.during.goes_on() && usual.during.is_served(),
        "a stopped client does not disturb others",
    );
    sheet.promise(
        transport,
        usual.after.goes_on() && usual.after.is_served(),
        "the stream continues after a client was stopped",
    );
    if let Some(element) = transport.without_pool() {
        stage.remove_socket();
        stage.put_before_the_sink(element);
        let without = stop_one(stage)?;
        let fact = format!(
            "`{element}`: {}; after SIGCONT {}",
            without.during.producer(&without.before),
            without.producer_after
        );
        sheet.add("the producer, its sink copying", transport, fact);
    }
    Ok(())
}

/// The result of stopping one of two clients.
struct Stop {
    before: Watch,
    during: Watch,
    client_after: String,
    producer_after: String,
    after: Watch,
}

fn stop_one(stage: &mut Stage<'_>) -> Result<Stop> {
    let mut producer = stage.producer()?;
    let (mut other, mut victim) = (stage.client()?, stage.client()?);
    let before = watch(&mut producer, &mut other, USUAL)?;
    victim.reset()?;
    victim.stop();
    let during = watch(&mut producer, &mut other, DISTURBED)?;

    // The newest frame that a client received that was not stopped.
    let end = other.figures()?.map_or(0, |figures| figures.number);
    producer.reset()?;
    victim.resume();
    let served = victim.reaches(PATIENCE, |figures| figures.number >= end)?;
    let goes_on = producer.reaches(PATIENCE, |figures| figures.frames > 0)?;
    let missed = victim.figures()?.map_or(0, |figures| figures.missed);
    let seconds = PATIENCE.as_secs();
    Ok(Stop {
        before,
        during,
        client_after: match served {
            Some(time) => format!(
                "has caught up after {} ms, {missed} missed",
                time.as_millis()
            ),
            None => format!("**does not catch up** in {seconds} s"),
        },
        producer_after: match goes_on {
            Some(_) => "goes on".into(),
            None => format!("**stays blocked** for at least {seconds} s"),
        },
        after: watch(&mut producer, &mut other, USUAL)?,
    })
}

/// Kills one client after the other as soon as it has a frame, beside one that stays.
pub fn killed(stage: &mut Stage<'_>, sheet: &mut Sheet, kills: usize) -> Result<()> {
    let transport = stage.transport;
    let mut producer = stage.producer()?;
    let mut other = stage.client()?;
    let before = watch(&mut producer, &mut other, USUAL)?;
    // Memory for several clients is not a leak: some clients are connected while killed ones are
    // not yet removed.
    let alone = Possessions::of(producer.pid());
    let crowd: Result<Vec<_>> = (0..2 * AT_ONCE).map(|_| stage.start_client("")).collect();
    let crowd: Result<Vec<_>> = crowd?.into_iter().map(until_receiving).collect();
    drop(crowd?);
    settle(alone, producer.pid());
    let possessions = Possessions::of(producer.pid());

    let watcher = Watcher::begin(&mut producer, &mut other)?;
    let mut dead = 0;
    while dead < kills {
        let victims: Result<Vec<_>> = (0..AT_ONCE.min(kills - dead))
            .map(|_| stage.start_client(""))
            .collect();
        for victim in victims? {
            // The experiment ends when the producer no longer serves a new client.
            match until_receiving(victim) {
                Ok(mut victim) => victim.kill(),
                Err(_) => {
                    let fact = format!("no client is served any more after {dead} kills");
                    sheet.add("the producer", transport, fact);
                    sheet.promise(transport, false, "killed clients do not disturb others");
                    return Ok(());
                }
            }
            dead += 1;
        }
    }
    let during = watcher.look(&mut producer, &mut other)?;
    sheet.add("the producer", transport, during.producer(&before));
    sheet.add("a client that stays", transport, during.client());
    settle(possessions, producer.pid());
    let growth = Possessions::of(producer.pid()).since(possessions);
    sheet.add("what the producer has gained", transport, growth);
    let after = watch(&mut producer, &mut other, USUAL)?;
    sheet.promise(
        transport,
        during.goes_on() && after.goes_on() && during.is_served() && after.is_served(),
        "killed clients do not disturb others",
    );
    sheet.promise(
        transport,
        Possessions::of(producer.pid()).settled(possessions),
        "killed clients leave no descriptor",
    );
    Ok(())
}

/// Waits until the number of descriptors of a producer has returned to its former value, or the
/// time is over.
fn settle(then: Possessions, pid: u32) {
    let start = Instant::now();
    while !Possessions::of(pid).settled(then) && start.elapsed() < NOTICE {
        std::thread::sleep(Duration::from_millis(10));
    }
}
