//! A client that writes what it was given, and another one that looks.

use std::time::Duration;

use xmem_tests::roles::Result;

use crate::attacker::Way;
use crate::sheet::Sheet;
use crate::stage::{Stage, until_receiving};
use crate::watch::watch;

/// How long frames are attacked.
const ATTACKED: Duration = Duration::from_secs(2);

/// Attacks each frame in one way while another client checks every byte of them.
pub fn attempted(stage: &mut Stage<'_>, sheet: &mut Sheet, way: Way) -> Result<()> {
    let transport = stage.transport;
    let mut producer = stage.producer()?;
    let mut other = stage.client()?;
    let mut attacker = until_receiving(stage.start_attacker()?)?;
    let order = format!("attack {}", way.name());
    let attacked = attacker.ask(&order, "attacked")?;
    let seen = watch(&mut producer, &mut other, ATTACKED)?;
    let told = match &attacked {
        Some(line) => line.text("text").to_owned(),
        None => match attacker.death() {
            Some(how) => format!("the attacker is dead: {how}"),
            None => "it has received nothing to attack".into(),
        },
    };
    let harmless = seen.goes_on() && seen.is_served();
    let refused = told.contains("refused") && !told.contains("**");
    sheet.promise(
        transport,
        harmless && refused,
        "a client can't write a frame",
    );
    let effect = match harmless {
        true if refused => String::new(),
        true => "; no harm seen".into(),
        false if seen.goes_on() => format!("; another client: {}", seen.client()),
        false => format!(
            "; the producer: {}; another client: {}",
            seen.producer(&seen),
            seen.client()
        ),
    };
    sheet.add("what comes of it", transport, told + &effect);
    Ok(())
}
