//! Which buffers a client can begin with. Pure.
//!
//! DELTA_UNIT alone does not say: a muxer's index or header has no such flag, and may come before a frame
//! that has one.

use std::sync::atomic::{AtomicU8, Ordering};

use xmem_core::Role;

/// What the buffers so far have shown of the stream. Only the streaming thread changes it.
#[derive(Debug, Default)]
pub(super) struct Roles(AtomicU8);

/// There was a buffer with DELTA_UNIT.
const HAS_DELTAS: u8 = 1;
/// There was one that a client can begin with. Without, as of sound in MPEG-TS, DELTA_UNIT says nothing.
const HAS_SYNC: u8 = 1 << 1;
/// Buffers with DELTA_UNIT have times. Then what has none is no frame of media.
const HAS_TIMES: u8 = 1 << 2;
/// The stream is of boxes of ISO media, as `mp4mux` makes them: only the first sample after a box can be
/// decoded with it alone.
const HAS_BOXES: u8 = 1 << 3;
/// The last buffer was a box.
const IS_LED: u8 = 1 << 4;

impl Roles {
    /// Another stream begins.
    pub(super) fn restart(&self, has_boxes: bool) {
        let state = if has_boxes { HAS_BOXES } else { 0 };
        self.0.store(state, Ordering::Relaxed);
    }

    /// Whether the stream is of boxes.
    pub(super) fn has_boxes(&self) -> bool {
        self.0.load(Ordering::Relaxed) & HAS_BOXES != 0
    }

    /// Whether some buffers need others: those take little memory, and many of them are kept.
    pub(super) fn has_deltas(&self) -> bool {
        self.0.load(Ordering::Relaxed) & HAS_DELTAS != 0
    }

    /// Whether a client can begin with a buffer, and what that has shown, for [`advance`](Roles::advance).
    pub(super) fn judge(&self, buffer: &gst::BufferRef) -> (Role, Shown) {
        let before = self.0.load(Ordering::Relaxed);
        let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if !is_delta && before == HAS_SYNC {
            return (Role::SyncPoint, Shown(before));
        }
        let (role, after) = judge(before, is_delta, buffer);
        (role, Shown(after))
    }

    /// The buffer was published.
    pub(super) fn advance(&self, shown: Shown) {
        self.0.store(shown.0, Ordering::Relaxed);
    }
}

/// What a buffer has shown of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown(u8);

fn judge(mut state: u8, is_delta: bool, buffer: &gst::BufferRef) -> (Role, u8) {
    let is_header = buffer.flags().contains(gst::BufferFlags::HEADER);
    let is_timed = buffer.dts_or_pts().is_some();
    if state & HAS_BOXES != 0 {
        let is_led = state & IS_LED != 0;
        let role = match (is_timed, is_led && !is_delta) {
            (false, _) => Role::Leading,
            (true, true) => Role::SyncPoint,
            (true, false) => Role::Dependent,
        };
        state &= !IS_LED;
        state |= if is_timed { 0 } else { IS_LED };
        state |= if is_delta { HAS_DELTAS } else { 0 };
        return (role, state);
    }
    if is_delta {
        if !is_header {
            state &= !HAS_TIMES;
            state |= if is_timed { HAS_TIMES } else { 0 };
        }
        let role = match state & HAS_SYNC {
            0 => Role::SyncPoint,
            _ if is_header && !is_timed => Role::Leading,
            _ => Role::Dependent,
        };
        return (role, state | HAS_DELTAS);
    }
    if !is_timed && state & HAS_TIMES != 0 {
        return (Role::Leading, state);
    }
    // A header before the first frame is none of those that clients begin with, but they may.
    if is_timed || !is_header {
        state |= HAS_SYNC;
    }
    (Role::SyncPoint, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    /// A buffer as GStreamer's muxers and encoders flag it: `K` or `d`, `H` for HEADER, `n` for no time.
    fn buffer(of: &str) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let content = buffer.get_mut().unwrap();
        if !of.contains('n') {
            content.set_pts(gst::ClockTime::SECOND);
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

    fn roles(has_boxes: bool, buffers: &str) -> Vec<Role> {
        gst::init().unwrap();
        let roles = Roles::default();
        roles.restart(has_boxes);
        let buffers = buffers.split_whitespace();
        let judge = |of| {
            let (role, shown) = roles.judge(&buffer(of));
            roles.advance(shown);
            role
        };
        buffers.map(judge).collect()
    }

    #[test]
    fn streams_say_what_a_client_can_begin_with() {
        for (what, buffers, expected) in [
            ("raw", "K K K", &[S, S, S][..]),
            ("h264parse", "KH d d KH d", &[S, D, D, S, D]),
            ("without times", "Kn dn dn Kn dn", &[S, D, D, S, D]),
            ("matroskamux", "dH dH K d d K", &[S, S, S, D, D, S]),
            ("oggmux", "KHn KHn K d", &[S, S, S, D]),
            (
                "flvmux, whose metadata comes anywhere",
                "KHn KHn dHn K d Kn d d Kn K",
                &[S, S, S, S, D, L, D, D, L, S],
            ),
            ("mpegtsmux", "KH dH d d KH d", &[S, D, D, D, S, D]),
            ("mpegtsmux, sound alone", "d d d", &[S, S, S]),
            (
                "theoraenc, headers told once more",
                "KHn dHn dHn K d KHn dHn dHn K",
                &[S, S, S, S, D, L, L, L, S],
            ),
        ] {
            assert_eq!(roles(false, buffers), expected, "{what}");
        }
    }

    #[test]
    fn in_boxes_a_sample_needs_the_box_before_it() {
        let expected = [L, L, L, L, S, D, L, L, D, D, L, L, S, D];
        let fragments = "Kn Kn Kn Kn KH d Kn Kn d d Kn Kn KH d";
        assert_eq!(roles(true, fragments), expected);
        let sound = "Kn Kn Kn Kn K K Kn Kn K K";
        assert_eq!(roles(true, sound), [L, L, L, L, S, D, L, L, S, D]);
    }
}
