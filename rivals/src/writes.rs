//! A client that writes to the memory it received, and another client that checks the frames.

use std::time::Duration;

use xmem_tests::roles::Result;

use crate::attacker::Way;
use crate::sheet::Sheet;
use crate::stage::{Stage, until_receiving};
use crate::watch::watch;

/// For how long frames are attacked.
const ATTACKED: Duration = Duration::from_secs(2);

/// Attacks each frame in one way while another client checks every byte of the frames.
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
        "a client cannot write to a frame",
    );
    let effect = if harmless && refused {
        String::new()
    } else if harmless {
        "; no harm seen".into()
    } else if seen.goes_on() {
        format!("; another client: {}", seen.client())
    } else {
        format!(
            "; the producer: {}; another client: {}",
            seen.producer(&seen),
            seen.client()
        )
    };
    sheet.add("consequences", transport, told + &effect);
    Ok(())
}
