//! What the bus calls an error of the core.

use std::panic::Location;

use xmem_core::Error;

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
        Error::NoProducer { path, .. } => format!(". {}", xmem_core::channels_nearby(path)),
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
