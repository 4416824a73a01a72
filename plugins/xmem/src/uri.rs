//! Channels as URIs: `xmem://cam0` is the channel with the name `cam0`, and `xmem:///run/cam0.sock`
//! the channel whose socket is at that path.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::channel::ChannelSettings;

/// The URI schemes.
pub(crate) const PROTOCOLS: &[&str] = &["xmem"];

const START: &str = "xmem:";
const FORMS: &str = "an xmem URI is xmem://NAME for the channel NAME, or xmem:///PATH for the \
                     channel whose socket is at the absolute path /PATH";

/// Parses the URI of a channel.
///
/// # Errors
/// [`gst::URIError::BadUri`], with a text that lists the valid forms.
pub(crate) fn parse(uri: &str) -> Result<ChannelSettings, glib::Error> {
    let bad = |why: &str| {
        let text = format!("{uri}: {why}: {FORMS}");
        glib::Error::new(gst::URIError::BadUri, &text)
    };
    let start = uri.get(..START.len());
    let rest = match start.filter(|start| start.eq_ignore_ascii_case(START)) {
        Some(_) => &uri[START.len()..],
        None => return Err(bad("the scheme is not xmem")),
    };
    let rest = rest
        .strip_prefix("//")
        .ok_or_else(|| bad("two slashes must follow the scheme"))?;
    if rest.contains(['?', '#']) {
        return Err(bad(
            "a query or a fragment is not supported (in a name or a path, ? is %3F \
             and # is %23; other settings are properties of xmemsrc)",
        ));
    }
    let mut settings = ChannelSettings::default();
    if rest.starts_with('/') {
        let path = unescape(rest).ok_or_else(|| bad("invalid percent-encoding"))?;
        settings.socket_path = Some(PathBuf::from(OsString::from_vec(path)));
    } else {
        // Some programs append a slash to the name.
        let name = rest.strip_suffix('/').unwrap_or(rest);
        if name.is_empty() {
            return Err(bad("the channel is missing"));
        }
        if name.contains('/') {
            return Err(bad("a path follows the name"));
        }
        let name = unescape(name).ok_or_else(|| bad("invalid percent-encoding"))?;
        let name = String::from_utf8(name).map_err(|_| bad("the name is not UTF-8"))?;
        settings.channel = Some(name);
    }
    match settings.check() {
        Ok(_) => Ok(settings),
        Err(why) => Err(bad(&why)),
    }
}

/// Returns the URI of a channel. `None` if no channel is set, or both a name and a path.
pub(crate) fn format(settings: &ChannelSettings) -> Option<String> {
    match (&settings.channel, &settings.socket_path) {
        (Some(name), None) => {
            let name = escape(name.as_bytes(), "");
            Some(format!("{START}//{name}"))
        }
        (None, Some(path)) => {
            // A URI cannot hold a relative path.
            let path = std::path::absolute(path).ok()?;
            let path = escape(path.as_os_str().as_bytes(), "/");
            Some(format!("{START}//{path}"))
        }
        _ => None,
    }
}

/// Percent-encodes bytes, except unreserved characters and those in `plain`.
fn escape(bytes: &[u8], plain: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if is_plain(byte) || plain.as_bytes().contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                // Refuse a zero byte, because it would also end the text of an error.
                Some((digit()? * 16 + digit()?) as u8).filter(|&byte| byte != 0)?
            }
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ChannelSettings {
        ChannelSettings {
            channel: Some(name.into()),
            socket_path: None,
        }
    }

    fn path(path: &str) -> ChannelSettings {
        ChannelSettings {
            channel: None,
            socket_path: Some(path.into()),
        }
    }

    #[test]
    fn a_uri_means_a_name_or_a_path() {
        for (uri, settings) in [
            ("xmem://cam0", name("cam0")),
            ("XMEM://cam0/", name("cam0")),
            ("xmem://a%20b%C3%A9", name("a bé")),
            ("xmem://cam:0@home", name("cam:0@home")),
            ("xmem:///run/x.sock", path("/run/x.sock")),
            ("xmem:///run/a%20b%3f.sock", path("/run/a b?.sock")),
            ("xmem:////run//x.sock", path("//run//x.sock")),
        ] {
            assert_eq!(parse(uri).unwrap(), settings, "{uri}");
        }
    }

    #[test]
    fn a_uri_that_means_neither_is_refused_with_the_valid_forms() {
        for uri in [
            "xmem:",
            "xmem:cam0",
            "xmem://",
            "xmem:///",
            "xmem:///run/",
            "xmem://.hidden",
            "xmem://cam0/path",
            "xmem://cam0?delivery=latest",
            "xmem://cam0#1",
            "xmem://a%2Fb",
            "xmem://a%00b",
            "xmem://a%2",
            "xmem://a%zz",
            "xmem://%ff",
            "file:///run/x.sock",
            "é",
        ] {
            let error = parse(uri).unwrap_err();
            assert_eq!(error.kind(), Some(gst::URIError::BadUri), "{uri}");
            let text = error.message();
            assert!(text.contains(uri) && text.contains("xmem://NAME"), "{text}");
        }
    }

    #[test]
    fn what_is_formatted_is_parsed_to_the_same() {
        for settings in [
            name("cam0"),
            name("a b%é/?#".replace('/', "").as_str()),
            path("/run/x.sock"),
            path("/a b/%2f?#.sock"),
        ] {
            let uri = format(&settings).unwrap();
            assert_eq!(parse(&uri).unwrap(), settings, "{uri}");
        }
        assert_eq!(format(&name("cam0")).unwrap(), "xmem://cam0");
        assert_eq!(format(&path("/run/x.sock")).unwrap(), "xmem:///run/x.sock");
        assert_eq!(format(&ChannelSettings::default()), None);
    }
}
