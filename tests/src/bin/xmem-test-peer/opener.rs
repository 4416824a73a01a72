//! The role of a producer that opens its channel on an order, which may fail.

use xmem_core::{Publisher, Result};
use xmem_tests::{Line, OpenerOrder, pattern};

use crate::{Role, channel_of, perms_of};

/// Settings: `slot-size`, `perms`.
pub(crate) fn start(settings: &Line) -> Result<Role<OpenerOrder>> {
    let settings = settings.clone();
    let mut publisher = None;
    println!("ready");
    Ok(Role {
        worker: Box::new(move |order| obey(&settings, &mut publisher, order)),
        herald: Box::new(|_| None),
    })
}

fn obey(settings: &Line, publisher: &mut Option<Publisher>, order: &OpenerOrder) -> Result<Line> {
    let answer = Line::default();
    match *order {
        OpenerOrder::Open => {
            let mut builder = Publisher::builder(channel_of(settings)).perms(perms_of(settings));
            if let Some(size) = settings.get_number("slot-size") {
                builder = builder.slot_size(size as usize);
            }
            let opened = builder.open()?;
            let path = opened.socket_path().display().to_string();
            *publisher = Some(opened);
            return Ok(answer.with("text", path));
        }
        OpenerOrder::Cycle(count) => {
            for _ in 0..count {
                drop(Publisher::builder(channel_of(settings)).open()?);
            }
        }
        OpenerOrder::Publish => {
            let publisher = publisher.as_ref().expect("open comes first");
            pattern::publish(publisher, publisher.stats().published, 1000, 0)?;
        }
    }
    Ok(answer)
}
