//! Starts the producer and the client in either order.

use std::time::Duration;

use xmem_tests::roles::Result;

use crate::actor::PATIENCE;
use crate::producers::{Outcome, outcome};
use crate::sheet::Sheet;
use crate::stage::Stage;

/// How long a client waits before its producer is started.
const BEFORE: Duration = Duration::from_secs(2);
/// How long a producer runs without clients.
const ALONE: Duration = Duration::from_secs(3);

/// Starts the client first. The producer is started when the client has waited for a while or has
/// failed.
pub fn client_first(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let mut client = stage.start_client("")?;
    let early = outcome(&mut client, "receiving", BEFORE)?;
    let _producer = stage.producer()?;
    let fact = match early {
        Outcome::Nothing => match outcome(&mut client, "receiving", PATIENCE)? {
            Outcome::Told => "waits, and receives when a producer exists".into(),
            other => other.words(""),
        },
        other => other.words(""),
    };
    sheet.promise(
        transport,
        fact.starts_with("waits"),
        "a client waits for its producer",
    );
    sheet.add("that client", transport, fact);
    Ok(())
}

/// Starts the producer first, alone for a while. Checks that it runs, and that it serves a client
/// that connects later. Repeats this with the setting for running alone, if the default is not to.
pub fn producer_first(stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
    let transport = stage.transport;
    let fact = alone(stage, sheet, "")?;
    sheet.add("that producer", transport, fact);
    if let Some(settings) = transport.unattended() {
        stage.remove_socket();
        let fact = alone(stage, sheet, settings)?;
        sheet.add(
            "set to run without clients",
            transport,
            format!("`{settings}`: {fact}"),
        );
    }
    Ok(())
}

fn alone(stage: &mut Stage<'_>, sheet: &mut Sheet, settings: &str) -> Result<String> {
    let mut producer = stage.start_producer(settings)?;
    producer.told("producing", PATIENCE)?;
    std::thread::sleep(ALONE);
    let fact = match producer.figures()? {
        Some(figures) if figures.still() => {
            format!("stops at frame {} until a client connects", figures.frames)
        }
        Some(figures) => format!(
            "continues without a client: {} frames in {} s",
            figures.frames,
            ALONE.as_secs()
        ),
        None => format!("dead: {}", producer.death().unwrap_or_default()),
    };
    let mut client = stage.start_client("")?;
    let found = outcome(&mut client, "receiving", PATIENCE)?;
    sheet.promise(
        stage.transport,
        matches!(found, Outcome::Told) && fact.starts_with("goes on"),
        "a producer runs without clients and serves later ones",
    );
    Ok(format!("{fact}; a client then {}", found.words("receives")))
}
