//! Whatever bytes come from another process, as a fuzzer makes them up. Each function takes some
//! and asserts what must hold of all that passes the checks. A critical of GLib's or GStreamer's
//! counts as a failure: it says that something was done that never may be. So does a warning, but for
//! those about caps that contradict themselves.
//!
//! The targets in `fuzz/` call these functions, and so do the tests, on the corpora in the
//! repository.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::Once;

use glib::LogLevel;
use glib::translate::IntoGlib;
use gst_video::prelude::*;
use gst_video::{VideoCropMeta, VideoFormat, VideoFrameRef, VideoInfo, VideoMeta};

use crate::caps::Format;
use crate::events::{self, DecodedEvent, upstream};
use crate::metas;
use crate::timestamps::{LAST_TIME, MonotonicOffset, record_time, time};
use crate::values::Names;
use crate::xmemsrc::Timeline;

/// What `xmem-media` decodes, to GStreamer's objects and back. The first byte says what: 0 caps, 1 an
/// event, 2 metas.
pub fn mapping(bytes: &[u8]) {
    match bytes {
        [0, rest @ ..] => caps(rest),
        [1, rest @ ..] => events(rest),
        [2, rest @ ..] => metas(rest),
        _ => {}
    }
}

/// The format of frames: to caps, and to all that a client derives of them.
fn caps(bytes: &[u8]) {
    without_criticals(|| {
        let Ok((caps, format)) = Format::from_bytes(bytes, Names::own()) else {
            return;
        };
        assert!(caps.is_fixed());
        assert!(!caps.to_string().is_empty());
        let size = 4096;
        format.record(size, Some((0, 64)));
        assert!(caps.is_strictly_equal(&caps.copy()));
        // The size that the caps want, where they do, and the sizes that their bytes can be.
        let told = || metas::read_memories(bytes);
        for size in [size, bytes.len(), format.frame_size().unwrap_or(0)] {
            let record = format.record(size, None);
            assert_eq!(record.size(), size as u64);
            if let Some(sizes) = format.memories(size, told) {
                assert!(sizes.len() > 1 && sizes.len() <= gst::BufferRef::max_memory());
                assert_eq!(sizes.iter().sum::<usize>(), size);
            }
        }
        let mut buffer = gst::Buffer::with_size(size).expect("memory");
        let buffer = buffer.make_mut();
        assert_eq!(metas::attach(buffer, &[], format.video.as_ref()), Ok(()));
        if let Some(info) = &format.video {
            look(buffer, info);
        }
    });
}

/// Decodes events of both directions, and encodes them again.
///
/// The input is the offset of the pipeline (`i64`), the timestamp of a buffer and the point at
/// which the buffer is shown (`u64` each), then the encoded event.
fn events(bytes: &[u8]) {
    let Some((numbers, content)) = bytes.split_first_chunk::<24>() else {
        return;
    };
    quietly(|| {
        let number = |at: usize| {
            let number = numbers[at..at + 8].try_into().expect("8 bytes");
            u64::from_le_bytes(number)
        };
        let offset = Some(MonotonicOffset::from_nseconds(number(0) as i64));
        match events::decode(content, offset, 0) {
            Ok(Some(DecodedEvent::Event(event) | DecodedEvent::Gap(event, _))) => {
                let said = events::encode(&event, offset);
                if let Ok(Some((_, again))) = said {
                    assert!(matches!(events::decode(&again, offset, 0), Ok(Some(_))));
                }
            }
            Ok(Some(DecodedEvent::Segment(segment, ..))) => {
                let mut frame = xmem_core::BufferMeta::bytes(1);
                frame.set_stream_pts(record_time(number(8)));
                frame.set_pts(record_time(number(16)));
                let mut timeline = Timeline::new(segment, number(0) as i64);
                timeline.follow(&frame, offset);
                let event = gst::event::Segment::new(timeline.segment());
                // A client that forwards the segment sends one that the next client accepts.
                let said = events::encode(&event, offset).expect("no segment is too large");
                let (_, again) = said.expect("all segments cross");
                assert!(matches!(events::decode(&again, offset, 0), Ok(Some(_))));
                let pts = timeline.place(&frame).pts.map(time);
                let segment = timeline.segment().downcast_ref::<gst::ClockTime>();
                if let Some(segment) = segment {
                    let most = 3 * LAST_TIME + 1024;
                    if let Some(time) = pts {
                        let running_time = segment.to_running_time_full(time);
                        assert!(running_time.is_some_and(|time| time.abs().nseconds() <= most));
                        let stream_time = segment.to_stream_time_full(time);
                        assert!(stream_time.is_none_or(|time| time.abs().nseconds() <= most));
                    }
                }
            }
            _ => {}
        }
        if let Ok(event) = upstream::decode(content, offset) {
            assert!(upstream::which(&event).is_some());
            assert!(upstream::encode(&event, offset).is_some());
        }
    });
}

/// Decodes the extra bytes of a frame to metas, and encodes them again.
///
/// The input is the number of a video format (0 for frames that are not raw video), width, height,
/// interlace mode, and the number of bytes by which the frame is too small (negative) or too large,
/// one byte each; then the extra bytes.
fn metas(bytes: &[u8]) {
    let Some((&[format, width, height, interlacing, more], extra)) = bytes.split_first_chunk()
    else {
        return;
    };
    quietly(|| {
        let (width, height) = (u32::from(width) + 1, u32::from(height % 64) + 1);
        let mode = match interlacing % 3 {
            0 => gst_video::VideoInterlaceMode::Progressive,
            1 => gst_video::VideoInterlaceMode::Interleaved,
            _ => gst_video::VideoInterlaceMode::Alternate,
        };
        let info = if format == 0 {
            None
        } else {
            let known = |known: &VideoFormat| known.into_glib() == i32::from(format);
            let Some(format) = VideoFormat::iter_raw().find(known) else {
                return;
            };
            let info = VideoInfo::builder(format, width, height).interlace_mode(mode);
            let Ok(info) = info.build() else { return };
            Some(info)
        };
        let info = info.as_ref();
        let size = info.map_or(width as usize * height as usize, VideoInfo::size);
        let size = size.saturating_add_signed(isize::from(more as i8));

        let mut received = guarded_buffer(size);
        let received = received.make_mut();
        let whole = metas::attach(received, extra, info);
        if let Some(info) = info {
            look(received, info);
        }

        // What was attached can be sent to another client.
        let mut again = Vec::new();
        let written = metas::serialize(received, info, true, &mut again);
        assert_eq!(written.left_behind, [], "{whole:?}");
        let mut sent = guarded_buffer(size);
        let sent = sent.make_mut();
        assert_eq!(metas::attach(sent, &again, info), Ok(()), "{whole:?}");
        if whole.is_ok() {
            let mut once_more = Vec::new();
            metas::serialize(sent, info, true, &mut once_more);
            assert_eq!(again, once_more);
        }
    });
}

/// Reads every row of a frame through GStreamer, and checks that the crop lies inside the frame.
pub(crate) fn look(buffer: &gst::BufferRef, info: &VideoInfo) {
    for crop in buffer.iter_meta::<VideoCropMeta>() {
        let (x, y, width, height) = crop.rect();
        let (most_x, most_y) = match buffer.meta::<VideoMeta>() {
            Some(meta) => (meta.width(), meta.height()),
            None => (info.width(), info.height()),
        };
        assert!(u64::from(x) + u64::from(width) <= u64::from(most_x));
        assert!(u64::from(y) + u64::from(height) <= u64::from(most_y));
    }
    if buffer.meta::<VideoMeta>().is_none() || buffer.size() == 0 {
        return;
    }
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info);
    let frame = frame.expect("a frame with a video meta that was let through can be mapped");
    // For these formats GStreamer 1.22 reads a few bytes too many, even with valid strides and
    // offsets.
    if let VideoFormat::Uyvp
    | VideoFormat::Nv1210le32
    | VideoFormat::Nv1610le32
    | VideoFormat::Nv1210be8l128 = frame.format()
    {
        return;
    }
    let width = frame.width() as usize;
    // SAFETY: `frame` stays mapped while it lives, so the structure is filled in.
    let mapped = unsafe { &*frame.as_ptr() };
    // SAFETY: format infos are static data of GStreamer and are never freed.
    let Some(unpack) = (unsafe { (*mapped.info.finfo).unpack_func }) else {
        return;
    };
    // At most four components of 16 bits for each pixel. Some formats write whole groups of pixels.
    let mut row = vec![0u64; width + 64];
    // A separate field has half as many rows.
    for y in 0..frame.info().field_height() {
        // SAFETY: planes and strides are those of the mapped frame, `y` and `width` are inside it,
        // and the row has room for `width` pixels. If the meta is wrong, this reads outside of the
        // buffer; that is the bug that the fuzzer looks for.
        unsafe {
            unpack(
                mapped.info.finfo,
                gst_video::ffi::GST_VIDEO_PACK_FLAG_NONE,
                row.as_mut_ptr().cast(),
                mapped.data.as_ptr().cast_mut().cast(),
                mapped.info.stride.as_ptr().cast_mut().cast(),
                0,
                y as i32,
                width as i32,
            );
        }
    }
    std::hint::black_box(&row);
}

/// Makes a buffer that ends at the end of a page, before a page that is not readable.
pub(crate) fn guarded_buffer(size: usize) -> gst::Buffer {
    match size {
        0 => gst::Buffer::new(),
        size => gst::Buffer::from_slice(Guarded::new(size)),
    }
}

/// Memory that is followed by a page that is not readable.
///
/// Invariant, set up by `new`: `mapped` bytes are mapped at `start`, and the last page of them is
/// not readable. `size` bytes before that page are zeros that are never written.
struct Guarded {
    start: *mut libc::c_void,
    mapped: usize,
    size: usize,
}

// SAFETY: the memory is never written, and stays mapped until drop.
unsafe impl Send for Guarded {}

impl Guarded {
    const PAGE: usize = 4096;

    fn new(size: usize) -> Guarded {
        let mapped = size.next_multiple_of(Guarded::PAGE) + Guarded::PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: without MAP_FIXED the kernel chooses an unused range.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_READ, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: this is the last page of the mapping made above, and nothing points to it yet.
        let guarded = unsafe {
            let guard = start.byte_add(mapped - Guarded::PAGE);
            libc::mprotect(guard, Guarded::PAGE, libc::PROT_NONE)
        };
        assert_eq!(guarded, 0);
        Guarded {
            start,
            mapped,
            size,
        }
    }
}

impl AsRef<[u8]> for Guarded {
    fn as_ref(&self) -> &[u8] {
        let offset = self.mapped - Guarded::PAGE - self.size;
        // SAFETY: by the invariant of the type, `size` bytes before the last page are mapped and
        // unchanging as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.byte_add(offset).cast(), self.size) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: this object owns the mapping, and all borrows of it have ended.
        unsafe { libc::munmap(self.start, self.mapped) };
    }
}

/// Runs a function in which GLib and GStreamer must not complain, not even with a warning:
/// `G_DEBUG` can make a warning end the process.
pub(crate) fn quietly(run: impl FnOnce()) {
    let complaints = complaints(run);
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Runs a function in which GLib and GStreamer must not log a critical message.
fn without_criticals(run: impl FnOnce()) {
    let mut complaints = complaints(run);
    complaints.retain(|(level, _)| *level != LogLevel::Warning);
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Returns what GLib and GStreamer complain about in this thread while a function runs.
fn complaints(run: impl FnOnce()) -> Vec<(LogLevel, String)> {
    thread_local! {
        static COMPLAINTS: RefCell<Vec<(LogLevel, String)>> = const { RefCell::new(Vec::new()) };
    }
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        gst::init().expect("GStreamer is there");
        glib::log_set_default_handler(|domain, level, message| {
            if let LogLevel::Error | LogLevel::Critical | LogLevel::Warning = level {
                let complaint = (level, message.to_owned());
                COMPLAINTS.with_borrow_mut(|complaints| complaints.push(complaint));
            }
            glib::log_default_handler(domain, level, Some(message));
        });
    });
    run();
    COMPLAINTS.take()
}

#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gstreamer_warns_of_nothing_that_is_decoded() {
        corpus::try_all("mapping", 15_000, mapping);
    }
}
