//! Upstream events, from a client's pipeline to the producer's.

use gst::glib;
use gst::glib::translate::IntoGlib;

use super::seqnum::{Name, Use};
use super::{Result, key_unit, segment};
use crate::timestamps::{LAST_TIME, MonotonicOffset};
use crate::values::{DecodeError, EncodeGst, Encoder, Reader, Told, one_of};

/// Events of clients that a producer passes on upstream.
#[glib::flags(name = "GstXmemSinkUpstreamEvents")]
pub(crate) enum UpstreamEvents {
    #[flags_value(name = "Key frame requests (GstForceKeyUnit)", nick = "force-key-unit")]
    FORCE_KEY_UNIT = 1,
    #[flags_value(name = "Custom events", nick = "custom")]
    CUSTOM = 1 << 1,
    #[flags_value(name = "Navigation events", nick = "navigation")]
    NAVIGATION = 1 << 2,
    #[flags_value(name = "QoS events; one client's affect all clients", nick = "qos")]
    QOS = 1 << 3,
    #[flags_value(name = "Seek events; one client's affect all clients", nick = "seek")]
    SEEK = 1 << 4,
}

impl Default for UpstreamEvents {
    /// What harms nobody where there are many clients.
    fn default() -> UpstreamEvents {
        UpstreamEvents::FORCE_KEY_UNIT | UpstreamEvents::CUSTOM
    }
}

/// What an event is among those that can be passed on; `None` for one that can't.
pub(crate) fn which(event: &gst::EventRef) -> Option<UpstreamEvents> {
    use gst::EventView as E;
    Some(match event.view() {
        E::CustomUpstream(_) | E::CustomBoth(_) | E::CustomBothOob(_) => {
            match gst_video::ForceKeyUnitEvent::is(event) {
                true => UpstreamEvents::FORCE_KEY_UNIT,
                false => UpstreamEvents::CUSTOM,
            }
        }
        E::Navigation(_) => UpstreamEvents::NAVIGATION,
        E::Qos(_) => UpstreamEvents::QOS,
        E::Seek(_) => UpstreamEvents::SEEK,
        _ => return None,
    })
}

/// The bytes of an event that [`which`] knows. Running times are of a pipeline with this offset.
///
/// A kind (the GstEventType, `u32`), the name of its sequence number, then the structure; of a QoS event `u32` type, `f64`
/// proportion, `i64` difference, `u64` time on `CLOCK_MONOTONIC`; of a seek `f64` rate, `u32`
/// format, flags, `u32` and `i64` start's type and start, the same for stop.
pub(crate) fn encode(event: &gst::EventRef, offset: Option<MonotonicOffset>) -> Option<Vec<u8>> {
    use gst::EventView as E;
    let mut bytes = Vec::new();
    let mut writer = Encoder::new(&mut bytes);
    writer.u32(event.type_().into_glib() as u32);
    Name::of(event.seqnum(), used(event.type_())).write(&mut writer);
    match event.view() {
        E::Qos(qos) => {
            let (kind, proportion, difference, time) = qos.get();
            writer.u32(kind.into_glib() as u32);
            writer.f64(proportion);
            writer.i64(difference);
            let time = time.zip(offset);
            let time = time.map(|(time, offset)| offset.to_monotonic(time.nseconds().into()));
            writer.u64(time.unwrap_or(u64::MAX));
        }
        E::Seek(seek) => {
            let (rate, flags, start_type, start, stop_type, stop) = seek.get();
            let bounds = [(start_type, start), (stop_type, stop)];
            if !can_be_sought(rate, bounds.map(|(kind, value)| (kind, value.value()))) {
                return None;
            }
            writer.f64(rate);
            writer.u32(start.format().into_glib() as u32);
            writer.u32(flags.bits());
            for (kind, value) in bounds {
                writer.u32(kind.into_glib() as u32);
                writer.i64(value.value());
            }
        }
        _ => writer.structure(&key_unit::to_monotonic(event.structure()?, offset))?,
    }
    Some(bytes)
}

/// For how long the number of such an event counts: what comes of a seek has its number.
fn used(kind: gst::EventType) -> Use {
    match kind {
        gst::EventType::Seek => Use::Lasting,
        _ => Use::Passing,
    }
}

/// What [`encode`] has made, for a pipeline with this offset.
///
/// # Errors
/// The bytes come from another process: they may be none of ours.
pub(crate) fn decode<'a>(
    content: impl Into<Told<'a>>,
    offset: Option<MonotonicOffset>,
) -> Result<gst::Event> {
    let mut reader = Reader::new(content);
    let kind = reader.u32()?;
    let name = Name::read(&mut reader)?;
    let mut event = read(kind, &mut reader, offset)?;
    let seqnum = name.here(used(event.type_()));
    event.make_mut().set_seqnum(seqnum);
    Ok(event)
}

fn read(kind: u32, reader: &mut Reader<'_>, offset: Option<MonotonicOffset>) -> Result<gst::Event> {
    let is = |of: gst::EventType| of.into_glib() as u32 == kind;
    if is(gst::EventType::Qos) {
        return read_qos(reader, offset);
    }
    if is(gst::EventType::Seek) {
        return read_seek(reader);
    }
    let new: fn(gst::Structure) -> gst::Event = if is(gst::EventType::CustomUpstream) {
        gst::event::CustomUpstream::new
    } else if is(gst::EventType::CustomBoth) {
        gst::event::CustomBoth::new
    } else if is(gst::EventType::CustomBothOob) {
        gst::event::CustomBothOob::new
    } else if is(gst::EventType::Navigation) {
        gst::event::Navigation::new
    } else {
        return Err(DecodeError::Unsupported("a kind of upstream events"));
    };
    let structure = reader.structure()?;
    Ok(new(key_unit::to_running_time(structure, offset)))
}

fn read_qos(reader: &mut Reader<'_>, offset: Option<MonotonicOffset>) -> Result<gst::Event> {
    let kinds = [
        gst::QOSType::Overflow,
        gst::QOSType::Underflow,
        gst::QOSType::Throttle,
    ];
    let kind = one_of(&kinds, reader.i32()?)?;
    let (proportion, difference) = (reader.f64()?, reader.i64()?);
    let time = reader.time()?;
    let running_time = time.zip(offset).and_then(|(time, offset)| {
        let running_time = u64::try_from(offset.to_running_time(time.nseconds())).ok()?;
        // GStreamer refuses one that comes to less than zero.
        let earliest = running_time.checked_add_signed(difference)?;
        (earliest != u64::MAX).then(|| gst::ClockTime::from_nseconds(running_time))
    });
    if !proportion.is_finite() || running_time.is_none() {
        return Err(DecodeError::Invalid(
            "a qos event has a proportion and a time",
        ));
    }
    let qos = gst::event::Qos::builder(kind, proportion, difference);
    Ok(qos.timestamp(running_time).build())
}

/// Whether a seek leads to a segment that may cross, and elements can reckon with its bounds. From the end
/// of the stream they count backwards, below zero.
fn can_be_sought(rate: f64, bounds: [(gst::SeekType, i64); 2]) -> bool {
    let is_usable = |(kind, value): (gst::SeekType, i64)| match kind {
        gst::SeekType::End => value.unsigned_abs() <= LAST_TIME,
        _ => value == -1 || (0..=LAST_TIME as i64).contains(&value),
    };
    segment::is_usable_rate(rate) && bounds.into_iter().all(is_usable)
}

fn read_seek(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let rate = reader.f64()?;
    let format = segment::read_format(reader)?;
    // An instant change of the rate is one pipeline's own: its sinks have to agree on a time.
    let flags = gst::SeekFlags::from_bits_truncate(reader.u32()?);
    let mut flags = flags - gst::SeekFlags::INSTANT_RATE_CHANGE;
    if !flags.contains(gst::SeekFlags::KEY_UNIT) {
        // GStreamer takes no notice of it then, and warns.
        flags -= gst::SeekFlags::SNAP_NEAREST;
    }
    let mut bound = || -> Result<(gst::SeekType, i64)> {
        let kinds = [gst::SeekType::None, gst::SeekType::Set, gst::SeekType::End];
        let kind = one_of(&kinds, reader.i32()?)?;
        Ok((kind, reader.i64()?))
    };
    let bounds = [bound()?, bound()?];
    if !can_be_sought(rate, bounds) {
        return Err(DecodeError::Invalid(
            "a seek leads to a segment that may cross",
        ));
    }
    let [(start_type, start), (stop_type, stop)] =
        bounds.map(|(kind, value)| (kind, gst::GenericFormattedValue::new(format, value)));
    Ok(gst::event::Seek::new(
        rate, flags, start_type, start, stop_type, stop,
    ))
}
