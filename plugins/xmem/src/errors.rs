//! Errors of the core as messages on the bus.

use std::panic::Location;
use std::time::Duration;

use xmem_core::Error;

mod text;

pub(crate) use text::{refused, text};

/// Timeouts shorter than this are probably set in the wrong unit.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// The advice for a timeout that is shorter than [`SHORTEST`]; empty for other timeouts.
fn unit(waited: Duration) -> String {
    if waited < SHORTEST {
        format!(". {}", unit_of(waited))
    } else {
        String::new()
    }
}

/// Returns a text that names the unit of connection-timeout.
pub(crate) fn unit_of(timeout: Duration) -> String {
    format!(
        "connection-timeout={} is in nanoseconds: 5 seconds are 5000000000, and -1 waits without \
         limit",
        timeout.as_nanos()
    )
}

/// Makes a message for the bus. Its kind follows from the error, or is `doing` if the error has no
/// kind of its own.
#[track_caller]
pub(crate) fn message(error: &Error, doing: gst::ResourceError) -> gst::ErrorMessage {
    let kind = match error {
        Error::NoProducer { .. } => gst::ResourceError::NotFound,
        Error::InUse { .. } | Error::Refused { .. } | Error::NoAnswer { .. } => {
            gst::ResourceError::Busy
        }
        Error::BadPath { .. } | Error::InvalidSetting { .. } | Error::BadMemory(_) => {
            gst::ResourceError::Settings
        }
        Error::Exhausted { .. } | Error::ResourceExhausted { .. } => {
            gst::ResourceError::NoSpaceLeft
        }
        Error::Failed(_) => gst::ResourceError::Failed,
        _ => doing,
    };
    let advice = match error {
        Error::Stopped | Error::Disconnected(_) => {
            ". Set on-disconnect=reconnect to wait for the next one, or =eos".into()
        }
        Error::NoProducer { path, waited } => {
            let nearby = xmem_core::channels_nearby(path);
            let nearby: Vec<_> = nearby.iter().map(text::nearby).collect();
            format!("{}. {}", unit(*waited), nearby.join(" "))
        }
        Error::NoAnswer { waited, .. } => unit(*waited),
        _ => String::new(),
    };
    let (text, debug) = (text(error) + &advice, format!("{error:?}"));
    let place = Location::caller();
    gst::ErrorMessage::new(
        &kind,
        Some(&text),
        Some(&debug),
        place.file(),
        module_path!(),
        place.line(),
    )
}
