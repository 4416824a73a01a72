//! A client process: runs the source under test, and checks each frame on arrival and again when
//! the next frame has arrived. It can be ordered to attack the frames instead.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::parent::{tell, tell_error};
use xmem_tests::roles::pipeline::pad;
use xmem_tests::roles::{Result, monotonic_ns};

use crate::attacker::{Way, Weapons};
use crate::frame::Header;
use crate::part::{self, Shared};

/// Runs a client until its standard input ends. The source must have the name `source`. `xmem` is
/// the path of the socket of an xmem producer, for a client that attacks, or empty.
///
/// Reports `receiving` at the first frame of each producer. After the order `attack WAY` it attacks
/// each frame in that way, and reports the first attack as `attacked`.
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
            return tell_error(format!("unknown order: {order}"));
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

/// The state of a client between its frames.
struct Reader {
    progress: Shared,
    /// The header of the newest frame.
    latest: Option<Header>,
    /// The newest frame, kept to detect a change of it.
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
        // A frame that is torn on arrival cannot be told from one that changes later.
        self.held = whole.then(|| (header, buffer.clone()));
        let mut progress = self.progress.lock();
        // The number in a torn frame has no meaning.
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
