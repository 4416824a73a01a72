//! Queries that the source answers as the elements upstream of the producer's sink do.

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use super::XmemSrc;
use xmem_media::event::Extent;

use crate::events::extent::{answers, formats};
use crate::events::upstream::UpstreamEvents;

impl XmemSrc {
    /// Sets the extent of the producer's stream.
    pub(super) fn set_extent(&self, extent: Extent) {
        let time = |extent: Option<&Extent>| answers(extent?, gst::Format::Time)?.duration;
        let (before, now) = {
            let mut state = self.state();
            let before = time(state.extent.as_ref());
            state.extent = Some(extent);
            (before, time(state.extent.as_ref()))
        };
        if before != now {
            let obj = self.obj();
            let message = gst::message::DurationChanged::builder().src(&*obj).build();
            let _ = obj.post_message(message);
        }
    }

    /// Answers a query from the producer's answers. `None` for other queries, which the base class
    /// answers.
    pub(super) fn answer(&self, query: &mut gst::QueryRef) -> Option<bool> {
        use gst::QueryViewMut as Q;
        if self.cuda.answer(self.obj().upcast_ref(), query) {
            return Some(true);
        }
        match query.view_mut() {
            Q::Latency(query) => {
                self.answer_latency(query);
                Some(true)
            }
            Q::Convert(query) => Some(self.convert(query)),
            Q::Duration(query) if query.format() != gst::Format::Percent => {
                let duration = answers(&self.extent()?, query.format())?.duration;
                let duration = duration.map(|value| generic(query.format(), value));
                if let Some(duration) = duration {
                    query.set(duration);
                }
                Some(duration.is_some())
            }
            Q::Position(query) if query.format() == gst::Format::Percent => {
                let duration = answers(&self.extent()?, gst::Format::Time)?.duration?;
                let position = self.position()?;
                let duration = u64::try_from(duration).ok().filter(|time| *time > 0)?;
                let share = u128::from(position.nseconds().min(duration))
                    * gst::ffi::GST_FORMAT_PERCENT_MAX as u128
                    / u128::from(duration);
                query.set(generic(gst::Format::Percent, share as i64));
                Some(true)
            }
            Q::Seeking(query) => {
                let seeking = answers(&self.extent()?, query.format())?.seeking?;
                let takes_seeks = self.state().accepts.contains(UpstreamEvents::SEEK);
                let [start, end] =
                    [seeking.start, seeking.end].map(|value| generic(query.format(), value));
                query.set(seeking.is_seekable && takes_seeks, start, end);
                Some(true)
            }
            Q::Formats(query) => {
                let mut formats: Vec<_> = formats(&self.extent()?).collect();
                formats.push(gst::Format::Percent);
                query.set(formats);
                Some(true)
            }
            _ => None,
        }
    }

    /// The source pushes a frame as soon as it arrives, so its minimum latency is the producer's.
    /// From then on a frame can be held for as long as the producer has slots for this source.
    fn answer_latency(&self, query: &mut gst::query::Latency) {
        let (least, keeping) = {
            let state = self.state();
            (state.latency, state.keeping.clone())
        };
        let covered = keeping.and_then(|keeping| keeping.covered());
        let covered = covered.and_then(|time| gst::ClockTime::try_from(time).ok());
        query.set(true, least, covered.map(|time| least + time));
    }

    fn extent(&self) -> Option<Extent> {
        self.state().extent.clone()
    }

    /// Returns the position of the stream, by the last buffer.
    fn position(&self) -> Option<gst::ClockTime> {
        let mut query = gst::query::Position::new(gst::Format::Time);
        let is_answered = BaseSrcImplExt::parent_query(self, &mut query);
        let position = query.result().try_into().ok().filter(|_| is_answered);
        position.flatten()
    }

    /// Converts between the formats of raw video and raw audio, as their decoders and sources do.
    fn convert(&self, query: &mut gst::query::Convert) -> bool {
        let (from, format) = query.get();
        let converted = if from.format() == format {
            Some(from)
        } else {
            self.obj()
                .src_pad()
                .current_caps()
                .and_then(|caps| convert(&caps, from, format))
        };
        if let Some(converted) = converted {
            query.set(from, converted);
        }
        converted.is_some()
    }
}

fn convert(
    caps: &gst::CapsRef,
    from: gst::GenericFormattedValue,
    format: gst::Format,
) -> Option<gst::GenericFormattedValue> {
    match caps.structure(0)?.name().as_str() {
        "video/x-raw" => {
            let info = gst_video::VideoInfo::from_caps(caps).ok()?;
            info.convert_generic(from, format)
        }
        "audio/x-raw" => {
            let info = gst_audio::AudioInfo::from_caps(caps).ok()?;
            info.convert_generic(from, format)
        }
        _ => None,
    }
}

fn generic(format: gst::Format, value: i64) -> gst::GenericFormattedValue {
    gst::GenericFormattedValue::new(format, value)
}
