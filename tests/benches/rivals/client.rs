//! A client's process: the source under test, whose frames are checked when they arrive and once more when the next
//! one has arrived. It may be told to attack them instead.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::pipeline::pad;
use xmem_tests::roles::{Result, monotonic_ns};

use crate::attacker::{Way, Weapons};
use crate::frame::Header;
use crate::part::{self, Shared};

/// Runs a client until its standard input ends. The source must be named `source`; `xmem` is where an xmem
/// producer's socket is, for a client that attacks, or empty.
///
/// Tells `receiving` at the first frame of each producer. After `attack WAY` each frame is attacked in that way, and
/// the first attack is told as `attacked`.
pub fn main(source: &str, xmem: &str) -> Result<()> {
    let pipeline = part::launch(&format!("{source} ! fakesink sync=false"))?;
    let progress = Shared::new();
    let attack = Arc::new(Mutex::new(None));
    let state = Mutex::new(Reader {
        progress: progress.clone(),
        latest: None,
        held: None,
    });
    let orders = attack.clone();
    pad(&pipeline, "source", "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let mut reader = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attack = attack.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let done = match attack.as_mut() {
            None => reader.take(buffer),
            Some(attack) => reader.attack(buffer, attack),
        };
        if let Err(error) = done {
            tell_error(error);
        }
        gst::PadProbeReturn::Ok
    });
    part::play(pipeline, &progress, |order| {
        let way = order.strip_prefix("attack ").and_then(Way::parse);
        let Some(way) = way else {
            return tell_error(format!("no such order: {order}"));
        };
        let xmem = (!xmem.is_empty()).then(|| Path::new(xmem));
        let weapons = Weapons::collect(way, xmem);
        *orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(Attack {
            weapons,
            told: false,
        });
    })
}

struct Attack {
    weapons: Weapons,
    told: bool,
}

/// What a client does with its frames.
struct Reader {
    progress: Shared,
    /// The frame that came last.
    latest: Option<Header>,
    /// The same, as long as it may be changed under the client.
    held: Option<(Header, gst::Buffer)>,
}

impl Reader {
    fn take(&mut self, buffer: &gst::Buffer) -> Result<()> {
        let map = buffer.map_readable()?;
        let header = Header::read(&map).ok_or("a frame of no size")?;
        let whole = header.fits(&map);
        drop(map);
        let changed = match self.held.take() {
            Some((header, buffer)) => !header.fits(&buffer.map_readable()?),
            None => false,
        };
        // One that is torn already can't be told from one that changes.
        self.held = whole.then(|| (header, buffer.clone()));
        let mut progress = self.progress.lock();
        // That of a torn one says nothing.
        let number = if whole {
            header.number
        } else {
            progress.number
        };
        progress.frame(number);
        progress.torn += u64::from(!whole);
        progress.changed += u64::from(changed);
        if !whole {
            return Ok(());
        }
        match self.latest.replace(header) {
            Some(latest) if latest.producer == header.producer => {
                let next = latest.number + 1;
                progress.missed += header.number.saturating_sub(next);
                progress.repeated += u64::from(header.number < next);
            }
            _ => tell(
                "receiving",
                format!(
                    "at={} producer={} number={}",
                    monotonic_ns(),
                    header.producer,
                    header.number
                ),
            ),
        }
        Ok(())
    }

    fn attack(&mut self, buffer: &mut gst::Buffer, attack: &mut Attack) -> Result<()> {
        self.held = None;
        let outcome = attack.weapons.use_on(buffer)?;
        if !std::mem::replace(&mut attack.told, true) {
            tell("attacked", format!("text={outcome}"));
        }
        Ok(())
    }
}
