//! Errors of the core as messages on the bus.

use std::panic::Location;
use std::time::Duration;

use xmem_core::Error;

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

/// Settings as the texts of the core name them, and the properties that set them.
const PROPERTIES: [(&str, &str); 13] = [
    ("use channel ", "set channel="),
    ("use a socket path", "set socket-path"),
    ("perms of the producer", "perms of xmemsink"),
    ("a socket path", "socket-path"),
    ("socket path", "socket-path"),
    ("connect_timeout", "connection-timeout"),
    ("max_slots", "max-buffers"),
    ("lower the leases", "lower max-leases"),
    ("fewer leases or a lower", "lower max-leases or"),
    ("max_bytes", "max-bytes"),
    ("max_clients", "max-clients"),
    ("unsealed_memory: always", "unsealed-memory=always"),
    ("unsealed_memory", "unsealed-memory"),
];

/// The text of an error of the core, with the names of properties.
pub(crate) fn text(error: &Error) -> String {
    with_properties(error.to_string())
}

fn with_properties(text: String) -> String {
    PROPERTIES.iter().fold(text, |text, (setting, property)| {
        text.replace(setting, property)
    })
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
            let nearby = with_properties(xmem_core::channels_nearby(path));
            format!("{}. {nearby}", unit(*waited))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_names_properties_where_the_core_names_settings() {
        let error = Error::Exhausted { slots: 4, max: 4 };
        assert!(error.to_string().contains("max_slots"));
        assert!(text(&error).ends_with("max-buffers (4) allows no more: raise max-buffers"));
        let error = Error::NoProducer {
            path: "cam0.sock".into(),
            waited: Duration::ZERO,
        };
        assert!(text(&error).ends_with("raise connection-timeout"));
        let advice = "use channel cam0 in place of a socket path, and set perms of the producer";
        assert_eq!(
            with_properties(advice.into()),
            "set channel=cam0 in place of socket-path, and set perms of xmemsink"
        );
    }
}
