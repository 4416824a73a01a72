//! What the bus calls an error of the core.

use std::panic::Location;
use std::time::Duration;

use xmem_core::Error;

/// Shorter times than this are meant in another unit, mostly.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// What is said of a time to wait that is so short.
fn unit(waited: Duration) -> String {
    match waited < SHORTEST {
        true => format!(". {}", unit_of(waited)),
        false => String::new(),
    }
}

/// Says in which unit connection-timeout is.
pub(crate) fn unit_of(timeout: Duration) -> String {
    format!(
        "connection-timeout={} is in nanoseconds: 5 seconds are 5000000000, and -1 waits without limit",
        timeout.as_nanos()
    )
}

/// A message for the bus. Its kind is the error's own, or else the one of what was being done.
#[track_caller]
pub(crate) fn message(error: &Error, doing: gst::ResourceError) -> gst::ErrorMessage {
    let kind = match error {
        Error::NoProducer { .. } => gst::ResourceError::NotFound,
        Error::InUse { .. } | Error::Refused { .. } | Error::NoAnswer { .. } => {
            gst::ResourceError::Busy
        }
        Error::BadPath { .. } | Error::InvalidSetting(_) => gst::ResourceError::Settings,
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
            format!("{}. {}", unit(*waited), xmem_core::channels_nearby(path))
        }
        Error::NoAnswer { waited, .. } => unit(*waited),
        _ => String::new(),
    };
    let (text, debug) = (format!("{error}{advice}"), format!("{error:?}"));
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
