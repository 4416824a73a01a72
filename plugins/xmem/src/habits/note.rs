//! What the user is told of a property's value.

use gst::prelude::*;

/// What a user is told of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It makes no difference.
    Info(String),
    /// Something that was asked for is not done.
    Warning(String),
}

impl Note {
    /// Posts it on the element's bus.
    pub(crate) fn post(&self, element: &impl IsA<gst::Element>) {
        let kind = gst::ResourceError::Settings;
        match self {
            // gst-launch-1.0 prints the second text of an info message only.
            Note::Info(text) => gst::element_info!(element, kind, ("{text}"), ["{text}"]),
            Note::Warning(text) => gst::element_warning!(element, kind, ("{text}")),
        }
    }
}
