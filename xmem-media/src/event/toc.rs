//! Tables of contents.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::field::{Field, Result};
use crate::value::{TagList, Text};

/// The kind of the record that an entry is. There are no other kinds beside it.
const ENTRY: u32 = 1;
/// Fewest bytes of an entry.
const LEAST_ENTRY: usize = 8;
/// Most entries of a table.
const MAX_ENTRIES: usize = 4096;

/// A table of contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toc {
    /// The number of a `GstTocScope`: 1 global, 2 current.
    pub scope: i32,
    /// Whether it was updated.
    pub is_updated: bool,
    /// Tags of all.
    pub tags: Option<TagList>,
    /// The entries.
    pub entries: Vec<TocEntry>,
}

/// An entry of a table of contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TocEntry {
    /// The number of a `GstTocEntryType`: -3 to 3.
    pub kind: i32,
    /// Its name.
    pub uid: Text,
    /// Its start in nanoseconds, -1 where it is not known.
    pub start: i64,
    /// Its stop in nanoseconds, -1 where it is not known.
    pub stop: i64,
    /// The number of a `GstTocLoopType`: 0 to 3.
    pub repeats: i32,
    /// How often it is repeated.
    pub count: i32,
    /// Its tags.
    pub tags: Option<TagList>,
    /// The entries below it.
    pub entries: Vec<TocEntry>,
}

impl Field for Toc {
    const LEAST: usize = 16;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Toc> {
        Ok(Toc {
            scope: one_of(decoder, 1..=2)?,
            is_updated: decoder.bool()?,
            tags: Field::decode(decoder)?,
            entries: read_entries(decoder, &mut { MAX_ENTRIES })?,
        })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.i32(self.scope);
        encoder.u32(self.is_updated.into());
        self.tags.encode(encoder)?;
        write_entries(&self.entries, &mut { MAX_ENTRIES }, encoder)
    }
}

fn one_of(decoder: &mut Decoder<'_>, known: std::ops::RangeInclusive<i32>) -> Result<i32> {
    let number = decoder.i32()?;
    if known.contains(&number) {
        Ok(number)
    } else {
        Err(DecodeError::Invalid(
            "a number in a table of contents means nothing",
        ))
    }
}

/// Reads the entries here and below, at most `room`.
fn read_entries(decoder: &mut Decoder<'_>, room: &mut usize) -> Result<Vec<TocEntry>> {
    let count = decoder.count(LEAST_ENTRY)?;
    let too_many = DecodeError::Invalid("a table of contents has 4096 entries at most");
    *room = room.checked_sub(count).ok_or(too_many)?;
    (0..count)
        .map(|_| {
            decoder.record(|decoder, _| {
                Ok(TocEntry {
                    kind: one_of(decoder, -3..=3)?,
                    uid: Field::decode(decoder)?,
                    start: decoder.i64()?,
                    stop: decoder.i64()?,
                    repeats: one_of(decoder, 0..=3)?,
                    count: decoder.i32()?,
                    tags: Field::decode(decoder)?,
                    entries: read_entries(decoder, room)?,
                })
            })
        })
        .collect()
}

/// Writes all entries or none.
fn write_entries(entries: &[TocEntry], room: &mut usize, encoder: &mut Encoder<'_>) -> Option<()> {
    *room = room.checked_sub(entries.len())?;
    encoder.count(entries.len())?;
    entries.iter().try_for_each(|entry| {
        encoder.record(ENTRY, |encoder| {
            encoder.i32(entry.kind);
            encoder.text(&entry.uid)?;
            encoder.i64(entry.start);
            encoder.i64(entry.stop);
            encoder.i32(entry.repeats);
            encoder.i32(entry.count);
            entry.tags.encode(encoder)?;
            write_entries(&entry.entries, room, encoder)
        })
    })
}
