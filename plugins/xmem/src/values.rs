//! GStreamer's values to and from those of `xmem-media`, whose bytes cross between processes.
//!
//! Nothing here reads or writes bytes: [`Reader`] and [`EncodeGst`] let the codec do it, and convert
//! what it has checked. What remains to be decided is what only this process knows: which types it
//! has, and which names it may learn ([`Names`]).

use gst::glib;
use gst::glib::translate::IntoGlib;
use gst::glib::value::SendValue;
use xmem_media::value::{Buffer, Caps, EpochTime, Fraction, Structure};
pub(crate) use xmem_media::{DecodeError, Decoder, Encoder};

pub(crate) mod from_gst;
mod names;
#[cfg(test)]
mod tests;
pub(crate) mod to_gst;
mod untyped;

pub(crate) use names::{Names, Told};
pub(crate) use to_gst::Rules;

type Result<T> = std::result::Result<T, DecodeError>;

/// The one of these that has this number.
pub(crate) fn one_of<T: Copy + IntoGlib<GlibType = i32>>(all: &[T], number: i32) -> Result<T> {
    let one = all.iter().find(|one| one.into_glib() == number);
    one.copied()
        .ok_or(DecodeError::Invalid("a number of no known meaning"))
}

/// Decodes bytes of another process, and makes GStreamer's objects of the values in them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    decoder: Decoder<'a>,
    names: &'a Names,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(content: impl Into<Told<'a>>) -> Reader<'a> {
        let Told { bytes, names } = content.into();
        Reader {
            decoder: Decoder::new(bytes),
            names,
        }
    }

    /// As [`Decoder::record`].
    pub(crate) fn record<T, E: From<DecodeError>>(
        &mut self,
        body: impl FnOnce(&mut Self, u32) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let names = self.names;
        self.decoder.record(|decoder, kind| {
            let mut reader = Reader {
                decoder: std::mem::take(decoder),
                names,
            };
            let outcome = body(&mut reader, kind);
            *decoder = reader.decoder;
            outcome
        })
    }

    fn rules(&self) -> Rules<'a> {
        Rules::lenient(self.names)
    }

    /// Whether GStreamer may be told this name, which it never forgets.
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.names.admit(name)
    }

    /// A time, or none.
    pub(crate) fn time(&mut self) -> Result<Option<gst::ClockTime>> {
        let time = self.decoder.time()?;
        Ok(time.map(gst::ClockTime::from_nseconds))
    }

    /// A fraction: two numbers.
    pub(crate) fn fraction(&mut self) -> Result<gst::Fraction> {
        Fraction::decode(&mut self.decoder).map(to_gst::fraction)
    }

    /// A structure, without the fields that are not known here.
    pub(crate) fn structure(&mut self) -> Result<gst::Structure> {
        to_gst::structure(Structure::decode(&mut self.decoder)?, self.rules())
    }

    /// Caps.
    pub(crate) fn caps(&mut self) -> Result<gst::Caps> {
        to_gst::caps(Caps::decode(&mut self.decoder)?, self.rules())
    }

    /// A buffer.
    pub(crate) fn buffer(&mut self) -> Result<gst::Buffer> {
        Buffer::decode(&mut self.decoder).map(to_gst::buffer)
    }

    /// A date and time of GLib's.
    pub(crate) fn g_date_time(&mut self) -> Result<glib::DateTime> {
        to_gst::g_date_time(EpochTime::decode(&mut self.decoder)?)
    }
}

impl<'a> std::ops::Deref for Reader<'a> {
    type Target = Decoder<'a>;

    fn deref(&self) -> &Decoder<'a> {
        &self.decoder
    }
}

impl std::ops::DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.decoder
    }
}

/// Encodes GStreamer's objects. What can't cross is `None`, and leaves no bytes behind.
pub(crate) trait EncodeGst {
    /// A time, or none.
    fn clock_time(&mut self, time: Option<gst::ClockTime>);
    /// A fraction: two numbers.
    fn fraction(&mut self, fraction: gst::Fraction) -> Option<()>;
    /// A structure. Fields that can't cross are left out.
    fn structure(&mut self, structure: &gst::StructureRef) -> Option<()>;
    /// Caps.
    fn caps(&mut self, caps: &gst::CapsRef) -> Option<()>;
    /// The times and the bytes of a buffer. Its metas do not cross.
    fn buffer(&mut self, buffer: &gst::BufferRef) -> Option<()>;
    /// A date and time of GLib's.
    fn g_date_time(&mut self, date_time: &glib::DateTime) -> Option<()>;
}

impl EncodeGst for Encoder<'_> {
    fn clock_time(&mut self, time: Option<gst::ClockTime>) {
        self.time(time.map(gst::ClockTime::nseconds));
    }

    fn fraction(&mut self, fraction: gst::Fraction) -> Option<()> {
        let fraction = Fraction::new(fraction.numer(), fraction.denom()).ok()?;
        fraction.encode(self);
        Some(())
    }

    fn structure(&mut self, structure: &gst::StructureRef) -> Option<()> {
        from_gst::structure(structure)?.encode(self)
    }

    fn caps(&mut self, caps: &gst::CapsRef) -> Option<()> {
        from_gst::caps(caps)?.encode(self)
    }

    fn buffer(&mut self, buffer: &gst::BufferRef) -> Option<()> {
        from_gst::buffer(buffer)?.encode(self)
    }

    fn g_date_time(&mut self, date_time: &glib::DateTime) -> Option<()> {
        from_gst::g_date_time(date_time)?.encode(self)
    }
}

/// Whether a value is a string that is empty or none, which GStreamer takes for no tag.
fn is_empty_string(value: &SendValue) -> bool {
    value.type_() == glib::Type::STRING
        && untyped::string(value).is_ok_and(|text| text.is_none_or(str::is_empty))
}
