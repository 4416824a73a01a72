//! Upstream events, from the pipeline of a client to that of the producer.

use glib::translate::IntoGlib;
use xmem_media::event::{Bound, Qos, Seek, UpstreamContent, UpstreamEvent};

use super::seqnum::{self, Use};
use super::{key_unit, segment};
use crate::timestamps::MonotonicOffset;
use crate::values::{DecodeError, Rules, Told, from_gst, one_of, to_gst};

type Result<T> = std::result::Result<T, DecodeError>;

/// The events of clients that a producer sends upstream.
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
    /// The events that one client can send without affecting the others.
    fn default() -> UpstreamEvents {
        UpstreamEvents::FORCE_KEY_UNIT | UpstreamEvents::CUSTOM
    }
}

/// Returns the kind of an upstream event; `None` for an event that cannot be sent.
pub(crate) fn which(event: &gst::EventRef) -> Option<UpstreamEvents> {
    use gst::EventView as E;
    Some(match event.view() {
        E::CustomUpstream(_) | E::CustomBoth(_) | E::CustomBothOob(_) => {
            if gst_video::ForceKeyUnitEvent::is(event) {
                UpstreamEvents::FORCE_KEY_UNIT
            } else {
                UpstreamEvents::CUSTOM
            }
        }
        E::Navigation(_) => UpstreamEvents::NAVIGATION,
        E::Qos(_) => UpstreamEvents::QOS,
        E::Seek(_) => UpstreamEvents::SEEK,
        _ => return None,
    })
}

/// Encodes an event for which [`which`] returns a kind. Running times are those of a pipeline with
/// this offset.
pub(crate) fn encode(event: &gst::EventRef, offset: Option<MonotonicOffset>) -> Option<Vec<u8>> {
    use gst::EventView as E;
    let content = match event.view() {
        E::Qos(qos) => {
            let (kind, proportion, difference, time) = qos.get();
            let time = time.zip(offset);
            UpstreamContent::Qos(Qos {
                kind: kind.into_glib() as u32,
                proportion,
                difference,
                time: time.map(|(time, offset)| offset.to_monotonic(time.nseconds().into())),
            })
        }
        E::Seek(seek) => {
            let (rate, flags, start_type, start, stop_type, stop) = seek.get();
            let bound = |kind: gst::SeekType, value: gst::GenericFormattedValue| Bound {
                kind: kind.into_glib() as u32,
                value: value.value(),
            };
            UpstreamContent::Seek(Seek {
                rate,
                format: segment::format(start.format())?,
                flags: flags.bits(),
                start: bound(start_type, start),
                stop: bound(stop_type, stop),
            })
        }
        _ => {
            let structure = key_unit::to_monotonic(event.structure()?, offset);
            let kind = event.type_().into_glib() as u32;
            UpstreamContent::Structure(kind, from_gst::structure(&structure)?)
        }
    };
    let sequence = seqnum::name(event.seqnum(), used(&content));
    UpstreamEvent { sequence, content }.to_bytes()
}

/// Returns how long the sequence number of an event is needed: the events that follow from a seek
/// have its number.
fn used(content: &UpstreamContent) -> Use {
    match content {
        UpstreamContent::Seek(_) => Use::Lasting,
        _ => Use::Passing,
    }
}

/// Decodes the result of [`encode`] for a pipeline with this offset.
///
/// # Errors
/// The bytes are no upstream event: they come from another process and may have any content.
pub(crate) fn decode<'a>(
    content: impl Into<Told<'a>>,
    offset: Option<MonotonicOffset>,
) -> Result<gst::Event> {
    let Told { bytes, names } = content.into();
    let UpstreamEvent { sequence, content } = UpstreamEvent::from_bytes(bytes)?;
    let used = used(&content);
    let mut event = match content {
        UpstreamContent::Qos(from) => qos(&from, offset)?,
        UpstreamContent::Seek(from) => seek(&from)?,
        UpstreamContent::Structure(kind, structure) => {
            let structure = to_gst::structure(structure, Rules::lenient(names))?;
            custom(kind, key_unit::to_running_time(structure, offset))?
        }
        _ => return Err(DecodeError::Unsupported("an upstream event")),
    };
    event.make_mut().set_seqnum(seqnum::number(sequence, used));
    Ok(event)
}

fn custom(kind: u32, structure: gst::Structure) -> Result<gst::Event> {
    use gst::EventType as T;
    let kinds = [
        T::CustomUpstream,
        T::CustomBoth,
        T::CustomBothOob,
        T::Navigation,
    ];
    Ok(match one_of(&kinds, kind as i32)? {
        T::CustomUpstream => gst::event::CustomUpstream::new(structure),
        T::CustomBoth => gst::event::CustomBoth::new(structure),
        T::CustomBothOob => gst::event::CustomBothOob::new(structure),
        _ => gst::event::Navigation::new(structure),
    })
}

fn qos(from: &Qos, offset: Option<MonotonicOffset>) -> Result<gst::Event> {
    let kinds = [
        gst::QOSType::Overflow,
        gst::QOSType::Underflow,
        gst::QOSType::Throttle,
    ];
    let kind = one_of(&kinds, from.kind as i32)?;
    let running_time = from.time.zip(offset).and_then(|(time, offset)| {
        let running_time = u64::try_from(offset.to_running_time(time)).ok()?;
        // GStreamer refuses a QoS event whose time plus difference is below zero.
        let earliest = running_time.checked_add_signed(from.difference)?;
        (earliest != u64::MAX).then(|| gst::ClockTime::from_nseconds(running_time))
    });
    let running_time = running_time.ok_or(DecodeError::Invalid("a qos event has a time"))?;
    let qos = gst::event::Qos::builder(kind, from.proportion, from.difference);
    Ok(qos.timestamp(running_time).build())
}

fn seek(from: &Seek) -> Result<gst::Event> {
    // Without INSTANT_RATE_CHANGE: the sinks of a pipeline have to agree on a time for it, which
    // works only in one pipeline.
    let flags = gst::SeekFlags::from_bits_truncate(from.flags);
    let mut flags = flags - gst::SeekFlags::INSTANT_RATE_CHANGE;
    if !flags.contains(gst::SeekFlags::KEY_UNIT) {
        // Without KEY_UNIT, GStreamer ignores SNAP_NEAREST and prints a warning.
        flags -= gst::SeekFlags::SNAP_NEAREST;
    }
    let kinds = [gst::SeekType::None, gst::SeekType::Set, gst::SeekType::End];
    let [start_type, stop_type] = [from.start, from.stop].map(|of| one_of(&kinds, of.kind as i32));
    let position = |bound: Bound| segment::position(from.format, bound.value);
    Ok(gst::event::Seek::new(
        from.rate,
        flags,
        start_type?,
        position(from.start),
        stop_type?,
        position(from.stop),
    ))
}
