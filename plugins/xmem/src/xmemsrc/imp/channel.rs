//! The channel that the source receives: set by properties or a URI, and changed while it plays.

use std::path::PathBuf;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::XmemSrc;
use crate::channel::ChannelSettings;
use crate::uri;

impl XmemSrc {
    /// Sets the channel, by name or by path. If the source runs, it switches to this channel.
    ///
    /// # Errors
    /// A message for the user, if the source runs and there can be no such channel.
    pub(in crate::xmemsrc) fn set_channel(&self, new: ChannelSettings) -> Result<(), String> {
        let is_running = self.state().canceller.is_some();
        let next = is_running.then(|| new.check()).transpose()?;
        {
            let mut settings = self.settings();
            if settings.channel == new {
                return Ok(());
            }
            settings.channel = new;
        }
        if next.is_some() {
            let canceller = {
                let mut state = self.state();
                state.next_channel = next;
                state.canceller.clone()
            };
            if let Some(canceller) = canceller {
                canceller.interrupt();
            }
        }
        let obj = self.obj();
        obj.notify("channel");
        obj.notify("socket-path");
        Ok(())
    }

    pub(super) fn socket_path(&self) -> Option<PathBuf> {
        let channel = self.settings().channel.check().ok()?;
        channel.socket_path().ok()
    }

    /// Sets `channel` or `socket-path`. While the source runs, setting one clears the other.
    pub(super) fn set_channel_property(&self, name: &str, value: &glib::Value) {
        if self.state().canceller.is_none() {
            self.settings().set(name, value);
            return;
        }
        let mut new = ChannelSettings::default();
        new.set(name, value);
        if new == ChannelSettings::default() {
            // The property was cleared: the other one was set before, or will be.
            return;
        }
        if let Err(error) = self.set_channel(new) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("The source keeps its channel: {error}")
            );
        }
    }
}

impl URIHandlerImpl for XmemSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        uri::PROTOCOLS
    }

    fn uri(&self) -> Option<String> {
        uri::format(&self.settings().channel)
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        let channel = uri::parse(uri)?;
        self.obj()
            .set_channel(channel)
            .map_err(|text| glib::Error::new(gst::URIError::BadState, &text))
    }
}
