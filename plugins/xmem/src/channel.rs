//! The properties `channel` and `socket-path`, which both elements have, and `address`, an alias of
//! `socket-path`.

use std::path::PathBuf;

use gst::prelude::*;
use xmem_core::Channel;

use crate::errors;

/// The channel, as the properties set it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelSettings {
    pub(crate) channel: Option<String>,
    pub(crate) socket_path: Option<PathBuf>,
}

impl ChannelSettings {
    /// Returns the channel, checked as far as possible without connecting.
    ///
    /// # Errors
    /// A message for the bus that says which property to set.
    pub(crate) fn channel(&self) -> Result<Channel, gst::ErrorMessage> {
        let checked = self.check();
        checked.map_err(|text| gst::error_msg!(gst::ResourceError::Settings, ("{text}")))
    }

    /// Returns the channel, as [`channel`](ChannelSettings::channel) does.
    ///
    /// # Errors
    /// The text of that message.
    pub(crate) fn check(&self) -> Result<Channel, String> {
        let channel = match (&self.channel, &self.socket_path) {
            (Some(name), None) => Channel::name(name),
            (None, Some(path)) => Channel::path(path),
            (None, None) => {
                return Err(
                    "No channel: set the property channel (a name) or socket-path (a path)".into(),
                );
            }
            (Some(_), Some(_)) => {
                return Err("Two channels: set either channel or socket-path, not both".into());
            }
        };
        match channel.socket_path() {
            Ok(_) => Ok(channel),
            Err(error) => Err(errors::text(&error)),
        }
    }

    /// The properties. `mutable` is the flag that says in which states they can be changed; `when`
    /// says it at the end of the blurb if GStreamer has no flag for it.
    pub(crate) fn properties(mutable: glib::ParamFlags, when: &str) -> [glib::ParamSpec; 3] {
        let channel = format!(
            "Name of the channel; use the same name in xmemsink and xmemsrc. The socket is \
             NAME.sock in $XMEM_RUNTIME_DIR, else in $XDG_RUNTIME_DIR/xmem, else in \
             /tmp/xmem-UID{when}"
        );
        let socket_path =
            format!("Path of the channel's socket; set either this or channel, not both{when}");
        let address = format!(
            "Alias of socket-path, for pipelines written for cudaipcsink and cudaipcsrc{when}",
        );
        [
            glib::ParamSpecString::builder("channel")
                .nick("Channel")
                .blurb(&channel)
                .flags(glib::ParamFlags::READWRITE | mutable)
                .build(),
            glib::ParamSpecString::builder("socket-path")
                .nick("Socket path")
                .blurb(&socket_path)
                .flags(glib::ParamFlags::READWRITE | mutable)
                .build(),
            glib::ParamSpecString::builder("address")
                .nick("Address")
                .blurb(&address)
                .flags(glib::ParamFlags::READWRITE | mutable)
                .build(),
        ]
    }

    /// Sets one of these properties. Returns false for any other.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        let text = || {
            value
                .get::<Option<String>>()
                .ok()
                .flatten()
                .filter(|text| !text.is_empty())
        };
        match name {
            "channel" => self.channel = text(),
            "socket-path" | "address" => self.socket_path = text().map(PathBuf::from),
            _ => return false,
        }
        true
    }

    /// Returns the value of one of these properties, `None` for any other.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        match name {
            "channel" => Some(self.channel.to_value()),
            "socket-path" | "address" => Some(
                self.socket_path
                    .as_ref()
                    .map(|path| path.to_string_lossy().into_owned())
                    .to_value(),
            ),
            _ => None,
        }
    }
}
