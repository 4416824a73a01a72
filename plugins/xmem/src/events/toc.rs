//! Converts tables of contents.

use glib::translate::IntoGlib;
use xmem_media::event::{Toc, TocEntry};
use xmem_media::value::Text;

use crate::values::{DecodeError, Rules, from_gst, one_of, to_gst};

type Result<T> = std::result::Result<T, DecodeError>;

/// Returns the table of contents of an event; `None` if it cannot be sent.
pub(super) fn from_event(event: &gst::event::Toc) -> Option<Toc> {
    let (toc, is_updated) = event.toc_owned();
    Some(Toc {
        scope: toc.scope().into_glib(),
        is_updated,
        tags: toc.tags().map(|tags| from_gst::tag_list(&tags)),
        entries: from_entries(&toc.entries())?,
    })
}

fn from_entries(entries: &[gst::TocEntry]) -> Option<Vec<TocEntry>> {
    let entries = entries.iter().map(|entry| {
        let (start, stop) = entry.start_stop_times().unwrap_or((-1, -1));
        let (repeats, count) = entry.loop_().unwrap_or((gst::TocLoopType::None, 0));
        Some(TocEntry {
            kind: entry.entry_type().into_glib(),
            uid: Text::new(entry.uid()).ok()?,
            start,
            stop,
            repeats: repeats.into_glib(),
            count,
            tags: entry.tags().map(|tags| from_gst::tag_list(&tags)),
            entries: from_entries(&entry.sub_entries())?,
        })
    });
    entries.collect()
}

/// Returns the event of a table of contents.
pub(super) fn to_event(from: Toc, rules: Rules<'_>) -> Result<gst::Event> {
    let scopes = [gst::TocScope::Global, gst::TocScope::Current];
    let mut toc = gst::Toc::new(one_of(&scopes, from.scope)?);
    let content = toc.make_mut();
    if let Some(tags) = from.tags {
        content.set_tags(to_gst::tag_list(tags, rules));
    }
    for entry in from.entries {
        content.append_entry(to_entry(entry, rules)?);
    }
    Ok(gst::event::Toc::new(&toc, from.is_updated))
}

fn to_entry(from: TocEntry, rules: Rules<'_>) -> Result<gst::TocEntry> {
    use gst::TocEntryType as T;
    use gst::TocLoopType as L;
    let kinds = [
        T::Angle,
        T::Version,
        T::Edition,
        T::Invalid,
        T::Title,
        T::Track,
        T::Chapter,
    ];
    let mut entry = gst::TocEntry::new(one_of(&kinds, from.kind)?, &from.uid);
    let content = entry.make_mut();
    content.set_start_stop_times(from.start, from.stop);
    let loops = [L::None, L::Forward, L::Reverse, L::PingPong];
    content.set_loop(one_of(&loops, from.repeats)?, from.count);
    if let Some(tags) = from.tags {
        content.set_tags(to_gst::tag_list(tags, rules));
    }
    for sub_entry in from.entries {
        content.append_sub_entry(to_entry(sub_entry, rules)?);
    }
    Ok(entry)
}
