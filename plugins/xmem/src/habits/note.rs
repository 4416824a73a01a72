//! Messages about the values of properties.

use gst::prelude::*;

/// A message for the user about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The value makes no difference.
    Info(String),
    /// The value asks for something that the element does not do.
    Warning(String),
}

impl Note {
    /// Posts the message on the element's bus.
    pub(crate) fn post(&self, element: &impl IsA<gst::Element>) {
        let kind = gst::ResourceError::Settings;
        match self {
            // gst-launch-1.0 prints only the debug text of an info message.
            Note::Info(text) => gst::element_info!(element, kind, ("{text}"), ["{text}"]),
            Note::Warning(text) => gst::element_warning!(element, kind, ("{text}")),
        }
    }
}
