//! Tables of contents.

use gst::glib::translate::IntoGlib;

use super::Result;
use crate::values::{DecodeError, EncodeGst, Encoder, Reader, one_of};

/// Of the record that an entry is. It has no other kinds beside it.
const ENTRY: u32 = 1;
/// Fewest bytes of an entry.
const LEAST_ENTRY: usize = 8;
/// Most entries of a table.
const MAX_ENTRIES: usize = 4096;

/// `u32` scope, 1 for global, 2 for current; `u32` 1 where it was updated; tags; entries.
pub(super) fn write(event: &gst::event::Toc, writer: &mut Encoder<'_>) -> Option<()> {
    let (toc, updated) = event.toc_owned();
    writer.u32(toc.scope().into_glib() as u32);
    writer.u32(updated.into());
    write_tags(toc.tags(), writer)?;
    write_entries(&toc.entries(), &mut { MAX_ENTRIES }, writer)
}

/// `u32` 1 and a value of kind 27, or 0.
fn write_tags(tags: Option<gst::TagList>, writer: &mut Encoder<'_>) -> Option<()> {
    writer.u32(tags.is_some().into());
    tags.map_or(Some(()), |tags| writer.tag_list(&tags))
}

/// `u32` entries, and so many records of kind 1. Each: `i32` type; text uid; `i64` start, stop in
/// nanoseconds, -1 where they are not known; `u32` loop type, `i32` repetitions; tags; entries.
///
/// All or nothing: here and below there are at most `room`.
fn write_entries(
    entries: &[gst::TocEntry],
    room: &mut usize,
    writer: &mut Encoder<'_>,
) -> Option<()> {
    *room = room.checked_sub(entries.len())?;
    writer.u32(entries.len() as u32);
    entries.iter().try_for_each(|entry| {
        writer.record(ENTRY, |writer| {
            writer.i32(entry.entry_type().into_glib());
            writer.text(entry.uid())?;
            let (start, stop) = entry.start_stop_times().unwrap_or((-1, -1));
            writer.i64(start);
            writer.i64(stop);
            let (repeats, count) = entry.loop_().unwrap_or((gst::TocLoopType::None, 0));
            writer.u32(repeats.into_glib() as u32);
            writer.i32(count);
            write_tags(entry.tags(), writer)?;
            write_entries(&entry.sub_entries(), room, writer)
        })
    })
}

/// What [`write`] has written.
///
/// # Errors
/// Where it is none, or is nested too deeply, or has too many entries.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let scopes = [gst::TocScope::Global, gst::TocScope::Current];
    let mut toc = gst::Toc::new(one_of(&scopes, reader.i32()?)?);
    let updated = reader.bool()?;
    let content = toc.make_mut();
    if let Some(tags) = read_tags(reader)? {
        content.set_tags(tags);
    }
    let mut room = MAX_ENTRIES;
    for entry in read_entries(reader, &mut room)? {
        content.append_entry(entry);
    }
    Ok(gst::event::Toc::new(&toc, updated))
}

fn read_tags(reader: &mut Reader<'_>) -> Result<Option<gst::TagList>> {
    let has_tags = reader.bool()?;
    has_tags.then(|| reader.tag_list()).transpose()
}

/// The entries here and below, at most `room`.
fn read_entries(reader: &mut Reader<'_>, room: &mut usize) -> Result<Vec<gst::TocEntry>> {
    let count = reader.count(LEAST_ENTRY)?;
    *room = room
        .checked_sub(count)
        .ok_or(DecodeError::Invalid("a table has 4096 entries at most"))?;
    (0..count)
        .map(|_| reader.record(|reader, _| read_entry(reader, room)))
        .collect()
}

fn read_entry(reader: &mut Reader<'_>, room: &mut usize) -> Result<gst::TocEntry> {
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
    let kind = one_of(&kinds, reader.i32()?)?;
    let mut entry = gst::TocEntry::new(kind, reader.text()?);
    let content = entry.make_mut();
    content.set_start_stop_times(reader.i64()?, reader.i64()?);
    let loops = [L::None, L::Forward, L::Reverse, L::PingPong];
    content.set_loop(one_of(&loops, reader.i32()?)?, reader.i32()?);
    if let Some(tags) = read_tags(reader)? {
        content.set_tags(tags);
    }
    for sub_entry in read_entries(reader, room)? {
        content.append_sub_entry(sub_entry);
    }
    Ok(entry)
}
