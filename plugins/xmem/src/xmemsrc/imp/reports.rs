//! The messages of the streaming thread.

use gst::subclass::prelude::*;
use xmem_core::Error;

use super::XmemSrc;
use crate::errors;
use crate::events::upstream::UpstreamEvents;
use crate::xmemsrc::received::Unusable;
use crate::xmemsrc::settings::{OnStarved, Settings};

impl XmemSrc {
    /// Warns of the first missed frames of a run.
    pub(super) fn warn_missed(&self, missed: u64, why: &str) {
        gst::element_imp_warning!(
            self,
            gst::StreamError::Failed,
            ("Missed {missed} frames: {why}. Further losses are only counted (missed in stats)")
        );
    }

    /// Warns of the first frame of its kind that cannot become a buffer.
    pub(super) fn warn_unusable(&self, unusable: &Unusable) {
        gst::element_imp_warning!(
            self,
            gst::StreamError::Format,
            ("Missed a frame: {unusable}. Further frames like it are only counted (missed in stats)")
        );
    }

    /// Warns that frames are skipped because no key frame arrives.
    pub(super) fn warn_overdue(&self, skipped: u64) {
        let requests = self.settings().request_keyframe;
        let requests = requests && {
            let accepts = self.state().accepts;
            accepts.contains(UpstreamEvents::FORCE_KEY_UNIT)
        };
        let why = if requests {
            "though key frames are requested"
        } else {
            "and none is requested (request-keyframe, and upstream-events of xmemsink)"
        };
        gst::element_imp_warning!(
            self,
            gst::StreamError::Decode,
            ("Skipped {skipped} frames because no key frame has come, {why}: set \
                 wait-for-keyframe=false to receive all frames, or raise group-time of xmemsink \
                 so that it keeps the last key frame and the frames after it")
        );
    }

    /// Reports, once a run, that downstream holds every frame that it may hold.
    pub(super) fn report_starved(&self) {
        let Settings {
            max_leases,
            on_starved,
            ..
        } = *self.settings();
        let advice = match max_leases {
            0 => "raise max-bytes (and max-buffers, if set) of xmemsink",
            _ => "raise max-leases",
        };
        match on_starved {
            OnStarved::Copy => gst::element_imp_info!(
                self,
                gst::ResourceError::Busy,
                ("Downstream holds as many frames as this source can lease, so further frames \
                     are copied: {advice}, or hold fewer buffers")
            ),
            OnStarved::Wait => gst::element_imp_warning!(
                self,
                gst::ResourceError::Busy,
                ("Downstream holds as many frames as this source can lease, so the source waits \
                     and may miss frames: {advice}, hold fewer buffers, or set on-starved=copy")
            ),
        }
    }

    /// Posts an error, with advice, unless the error is a cancellation.
    pub(super) fn failed(&self, error: Error) -> gst::FlowError {
        if matches!(error, Error::Cancelled) {
            return gst::FlowError::Flushing;
        }
        self.post_error_message(errors::message(&error, gst::ResourceError::Read));
        gst::FlowError::Error
    }
}
