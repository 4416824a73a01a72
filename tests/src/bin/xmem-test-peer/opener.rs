//! The role of a producer that opens its channel on an order, which may fail.

use xmem_core::{Publisher, Result};
use xmem_tests::{Line, pattern};

use crate::{Herald, Worker, channel_of, perms_of};

/// Settings: `slot-size`, `perms`.
pub(crate) fn start(settings: &Line) -> Result<(Worker, Herald)> {
    let settings = settings.clone();
    let mut publisher = None;
    println!("ready");
    Ok((
        Box::new(move |order| obey(&settings, &mut publisher, order)),
        Box::new(|_| None),
    ))
}

fn obey(settings: &Line, publisher: &mut Option<Publisher>, order: &Line) -> Result<Line> {
    match order.word.as_str() {
        "open" => {
            let mut builder = Publisher::builder(channel_of(settings)).perms(perms_of(settings));
            if let Some(size) = settings.get_number("slot-size") {
                builder = builder.slot_size(size as usize);
            }
            let opened = builder.open()?;
            let path = opened.socket_path().display().to_string();
            *publisher = Some(opened);
            Ok(Line::new("opened").with("text", path))
        }
        // Opens and closes the channel repeatedly.
        "cycle" => {
            for _ in 0..order.number("count") {
                drop(Publisher::builder(channel_of(settings)).open()?);
            }
            Ok(Line::new("cycled"))
        }
        "publish" => {
            let publisher = publisher.as_ref().expect("open comes first");
            pattern::publish(publisher, publisher.stats().published, 1000, 0)?;
            Ok(Line::new("published"))
        }
        other => panic!("{other:?} is not an order for an opener"),
    }
}
