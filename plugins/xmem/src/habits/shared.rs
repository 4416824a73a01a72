//! Properties that the elements of both sides have.

use gst::prelude::*;

use super::note::Note;

/// The type of a socket's address, with the values of `GUnixSocketAddressType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstXmemSocketType")]
pub(super) enum SocketType {
    /// No address.
    #[enum_value(name = "Invalid", nick = "invalid")]
    Invalid = 0,
    /// A socket without an address.
    #[enum_value(name = "Anonymous socket", nick = "anonymous")]
    Anonymous = 1,
    /// A file path.
    #[default]
    #[enum_value(name = "File path", nick = "path")]
    Path = 2,
    /// A name in the abstract namespace.
    #[enum_value(name = "Abstract name", nick = "abstract")]
    Abstract = 3,
    /// A name in the abstract namespace, padded with zero bytes.
    #[enum_value(
        name = "Abstract name, padded with zero bytes",
        nick = "abstract-padded"
    )]
    AbstractPadded = 4,
}

impl SocketType {
    pub(super) fn note(self) -> Option<Note> {
        (self != SocketType::Path).then(|| {
            let value = self.to_value();
            let nick = glib::EnumValue::from_value(&value).map_or("", |(_, value)| value.nick());
            Note::Warning(format!(
                "socket-type={nick} has no effect: the socket of a channel is a file, at the path in \
                 socket-path. Set the same absolute path in xmemsink and xmemsrc, in a directory that \
                 both can reach"
            ))
        })
    }

    pub(super) fn property(when: (glib::ParamFlags, &str)) -> glib::ParamSpec {
        let blurb = format!(
            "For pipelines written for unixfdsink and unixfdsrc; has no effect, because the socket \
             of a channel is always a file{}",
            when.1
        );
        glib::ParamSpecEnum::builder_with_default("socket-type", SocketType::default())
            .nick("Socket type")
            .blurb(&blurb)
            .flags(glib::ParamFlags::READWRITE | when.0)
            .build()
    }
}
