//! Determines the role of each buffer: whether a client can begin with it. Pure.
//!
//! DELTA_UNIT alone is not enough. The index or header of a muxer has no DELTA_UNIT, but may
//! precede a frame that has it. For some formats the bytes say more; each of these formats has a
//! module.

use xmem_core::Role;

pub(super) mod boxes;
mod clusters;
mod first_bytes;
mod flv;
mod packets;
pub(super) mod units;

/// The state of the stream after the previous buffers.
#[derive(Debug, Default)]
pub(super) struct Roles(State);

/// The state after a buffer, for [`advance`](Roles::advance).
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown(State);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    format: Format,
    has: u8,
    /// The timestamp of the last sync point, if all buffers since have the same timestamp.
    synced_at: Option<gst::ClockTime>,
}

/// The stream has buffers that depend on others.
const HAS_DELTAS: u8 = 1;
/// The stream has sync points. Without them DELTA_UNIT has no meaning, as for MPEG-TS with audio
/// only.
const HAS_SYNC: u8 = 1 << 1;
/// Buffers with DELTA_UNIT have timestamps. Then a buffer without one is not a media frame.
const HAS_TIMES: u8 = 1 << 2;

/// The format of a stream whose bytes say which frames are sync points.
#[derive(Clone, Copy, Debug, Default)]
enum Format {
    /// Any other format.
    #[default]
    Any,
    Boxes(boxes::Boxes),
    Clusters(clusters::Clusters),
    Flv(flv::Flv),
    Packets(packets::Packets),
    Units(units::Units),
}

impl Format {
    fn of(caps: &gst::CapsRef) -> Format {
        let Some(structure) = caps.structure(0) else {
            return Format::Any;
        };
        match structure.name().as_str() {
            name if boxes::MEDIA_TYPES.contains(&name) => Format::Boxes(boxes::Boxes::default()),
            "video/x-matroska" | "video/webm" => Format::Clusters(clusters::Clusters::default()),
            "video/x-flv" => Format::Flv(flv::Flv::default()),
            "application/x-rtp" => {
                packets::Packets::of(structure).map_or(Format::Any, Format::Packets)
            }
            _ => units::Units::of(structure).map_or(Format::Any, Format::Units),
        }
    }

    fn restart(&mut self) {
        match self {
            Format::Any => {}
            Format::Boxes(boxes) => *boxes = boxes::Boxes::default(),
            Format::Clusters(clusters) => *clusters = clusters::Clusters::default(),
            Format::Flv(flv) => *flv = flv::Flv::default(),
            Format::Packets(packets) => *packets = packets::Packets::default(),
            Format::Units(units) => units.restart(),
        }
    }

    /// `None` if the bytes of the buffer do not determine its role.
    fn judge(&mut self, is_delta: bool, buffer: &gst::BufferRef) -> Option<Role> {
        match self {
            Format::Any => None,
            Format::Boxes(boxes) => boxes.judge(is_delta, buffer),
            Format::Clusters(clusters) => clusters.judge(buffer),
            Format::Flv(flv) => flv.judge(is_delta, buffer),
            Format::Packets(packets) => packets.judge(buffer),
            Format::Units(units) => units.judge(is_delta, buffer),
        }
    }
}

impl Roles {
    /// Sets the caps of the following buffers. With `is_other` they belong to another stream, with
    /// another media type.
    pub(super) fn set_caps(&mut self, caps: &gst::CapsRef, is_other: bool) {
        let format = Format::of(caps);
        if is_other || std::mem::discriminant(&format) != std::mem::discriminant(&self.0.format) {
            self.0 = State {
                format,
                ..State::default()
            };
        }
    }

    /// Forgets the state, because another stream begins. It has the same caps until others are set.
    pub(super) fn restart(&mut self) {
        let mut format = self.0.format;
        format.restart();
        self.0 = State {
            format,
            ..State::default()
        };
    }

    /// Notes that an event has announced a key frame as the next picture.
    pub(super) fn announce(&mut self) {
        if let Format::Clusters(clusters) = &mut self.0.format {
            clusters.announce();
        }
    }

    /// Returns whether some buffers depend on others. Those are small, and many of them are kept.
    pub(super) fn has_deltas(&self) -> bool {
        self.0.has & HAS_DELTAS != 0
    }

    /// Returns the role of a buffer, and the state after it for [`advance`](Roles::advance).
    pub(super) fn judge(&self, buffer: &gst::BufferRef) -> (Role, Shown) {
        let mut state = self.0;
        let role = state.judge(buffer);
        (role, Shown(state))
    }

    /// Sets the state after the buffer was published.
    pub(super) fn advance(&mut self, shown: Shown) {
        self.0 = shown.0;
    }
}

impl State {
    fn judge(&mut self, buffer: &gst::BufferRef) -> Role {
        let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let role = match self.format.judge(is_delta, buffer) {
            Some(role) => role,
            None => self.judge_by_flags(is_delta, buffer),
        };
        if is_delta || role == Role::Dependent {
            self.has |= HAS_DELTAS;
        }
        role
    }

    /// Determines the role by flags and timestamps.
    fn judge_by_flags(&mut self, is_delta: bool, buffer: &gst::BufferRef) -> Role {
        let is_header = buffer.flags().contains(gst::BufferFlags::HEADER);
        let time = buffer.dts_or_pts();
        // A picture may be in several buffers that have the same timestamp.
        let is_more = time.is_some() && time == self.synced_at && self.has & HAS_DELTAS != 0;
        if !is_more {
            self.synced_at = None;
        }
        if is_delta {
            if !is_header {
                self.has &= !HAS_TIMES;
                self.has |= if time.is_some() { HAS_TIMES } else { 0 };
            }
            return match self.has & HAS_SYNC {
                0 => Role::SyncPoint,
                _ if is_header && time.is_none() => Role::Leading,
                _ => Role::Dependent,
            };
        }
        if time.is_none() && self.has & HAS_TIMES != 0 {
            return Role::Leading;
        }
        if is_more {
            return Role::Dependent;
        }
        // A header before the first frame does not count as the stream's first sync point, but a
        // client may begin with it.
        if time.is_some() || !is_header {
            self.has |= HAS_SYNC;
        }
        self.synced_at = time;
        Role::SyncPoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    /// A buffer with the flags that GStreamer's muxers and encoders set: `K` or `d` (DELTA_UNIT),
    /// `H` for HEADER, `n` for no timestamp, and `=` for the timestamp of the buffer before it.
    fn buffer(of: &str, time: &mut gst::ClockTime) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let content = buffer.get_mut().unwrap();
        if !of.contains('=') {
            *time += gst::ClockTime::SECOND;
        }
        if !of.contains('n') {
            content.set_pts(*time);
        }
        for (letter, flag) in [
            ('d', gst::BufferFlags::DELTA_UNIT),
            ('H', gst::BufferFlags::HEADER),
        ] {
            if of.contains(letter) {
                content.set_flags(flag);
            }
        }
        buffer
    }

    fn judge(roles: &mut Roles, buffers: &str) -> Vec<Role> {
        let mut time = gst::ClockTime::ZERO;
        let buffers = buffers.split_whitespace();
        let judge = |of| {
            let (role, shown) = roles.judge(&buffer(of, &mut time));
            roles.advance(shown);
            role
        };
        buffers.map(judge).collect()
    }

    fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn streams_say_what_a_client_can_begin_with() {
        for (what, buffers, expected) in [
            ("raw", "K K K", &[S, S, S][..]),
            ("raw, all of one time", "K K= K= K=", &[S, S, S, S]),
            ("h264parse", "KH d d KH d", &[S, D, D, S, D]),
            (
                "pictures in several buffers",
                "K d= d K K= d= K= d= d K K",
                &[S, D, D, S, D, D, D, D, D, S, S],
            ),
            ("without times", "Kn dn dn Kn dn", &[S, D, D, S, D]),
            ("matroskamux", "dH dH K d d K", &[S, S, S, D, D, S]),
            ("oggmux", "KHn KHn K d", &[S, S, S, D]),
            (
                "metadata without a time",
                "KHn KHn dHn K d Kn d d Kn K",
                &[S, S, S, S, D, L, D, D, L, S],
            ),
            ("mpegtsmux", "KH dH d d KH d", &[S, D, D, D, S, D]),
            ("mpegtsmux, sound alone", "d d d", &[S, S, S]),
            ("the same, from xmemsrc", "dH dH d d d", &[S, S, S, S, S]),
            (
                "theoraenc, headers told once more",
                "KHn dHn dHn K d KHn dHn dHn K",
                &[S, S, S, S, D, L, L, L, S],
            ),
        ] {
            gst::init().unwrap();
            assert_eq!(judge(&mut Roles::default(), buffers), expected, "{what}");
        }
    }

    #[test]
    fn another_stream_begins_with_what_it_has() {
        let mut roles = Roles::default();
        roles.set_caps(&caps("video/mpegts"), true);
        assert_eq!(judge(&mut roles, "K d d"), [S, D, D]);
        roles.set_caps(&caps("video/mpegts,packetsize=188"), false);
        assert_eq!(judge(&mut roles, "d d"), [D, D], "it goes on");
        roles.restart();
        assert!(!roles.has_deltas());
        assert_eq!(judge(&mut roles, "d d d"), [S, S, S]);
        roles.set_caps(&caps("video/x-flv"), true);
        assert_eq!(judge(&mut roles, "K d"), [S, D], "they are no tags");
        assert!(roles.has_deltas());
    }
}
