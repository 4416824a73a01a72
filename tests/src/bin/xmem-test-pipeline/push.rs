//! Buffers that a test describes. An `appsrc` pushes them into the pipeline.

use gst::prelude::*;
use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta};
use xmem_tests::pipeline::Push;
use xmem_tests::{Line, metas, pipeline};

use crate::fdpool;

pub(crate) fn push(source: &gst::Element, wanted: &Push) -> Line {
    let caps = wanted.caps.as_ref();
    let caps = caps.map(|caps| caps.parse::<gst::Caps>().expect("caps"));
    let caps = caps.or_else(|| source.property::<Option<gst::Caps>>("caps"));
    if let Some(caps) = &caps {
        source.set_property("caps", caps);
    }
    let info = caps.as_ref().and_then(|caps| {
        let raw = caps.structure(0)?.name() == "video/x-raw";
        raw.then(|| VideoInfo::from_caps(caps).ok()).flatten()
    });
    let mut flow = gst::FlowReturn::Ok;
    for number in 0..wanted.count {
        let buffer = make(wanted, info.as_ref(), wanted.seed + number);
        flow = source.emit_by_name("push-buffer", &[&buffer]);
    }
    Line::new("answer").with("flow", format!("{flow:?}"))
}

/// The widths, offsets and strides of a padded frame, and its size.
fn padded(info: &VideoInfo, pad: u64) -> (Vec<usize>, Vec<i32>, usize) {
    let (mut offsets, mut strides, mut end) = (Vec::new(), Vec::new(), 0);
    for plane in 0..info.n_planes() {
        let stride = info.stride()[plane as usize] + pad as i32;
        let component = (0..info.n_components() as u8)
            .find(|&component| info.format_info().plane()[component as usize] == plane)
            .expect("a plane has components");
        offsets.push(end);
        strides.push(stride);
        end += stride as usize * info.comp_height(component) as usize;
    }
    (offsets, strides, end)
}

fn make(wanted: &Push, info: Option<&VideoInfo>, seed: u64) -> gst::Buffer {
    let layout = match (info, wanted.pad) {
        (Some(info), Some(pad)) => Some(padded(info, pad)),
        _ => None,
    };
    let size = match (wanted.size, &layout, info) {
        (Some(size), _, _) => size,
        (None, Some((_, _, size)), _) => *size,
        (None, None, Some(info)) => info.size(),
        (None, None, None) => panic!("no size in {wanted:?}"),
    };
    let mut bytes = vec![0; size];
    pipeline::fill(seed, &mut bytes);
    let memories = wanted.memories;
    if let Some(memfds) = wanted.memfds {
        let mut buffer = fdpool::buffer(fdpool::Kind { size, memfds });
        let target = buffer.get_mut().expect("a buffer from a pool is writable");
        target
            .copy_from_slice(0, &bytes)
            .expect("the buffer has this size");
        return buffer;
    }
    let mut buffer = gst::Buffer::new();
    let target = buffer.make_mut();
    let starts: Vec<usize> = match &layout {
        // A reader that uses the video meta expects every plane in one memory.
        Some((offsets, _, _)) if memories == offsets.len() => offsets.clone(),
        _ => (0..memories).map(|piece| size * piece / memories).collect(),
    };
    let ends = starts.iter().skip(1).chain([&size]);
    for (&start, &end) in starts.iter().zip(ends) {
        target.append_memory(gst::Memory::from_slice(bytes[start..end].to_owned()));
    }
    if let (Some((offsets, strides, _)), Some(info)) = (&layout, info) {
        let (format, width, height) = (info.format(), info.width(), info.height());
        VideoMeta::add_full(
            target,
            VideoFrameFlags::empty(),
            format,
            width,
            height,
            offsets,
            strides,
        )
        .expect("the layout fits the picture");
    }
    if let Some(rectangle) = wanted.crop {
        gst_video::VideoCropMeta::add(target, rectangle);
    }
    for kind in &wanted.metas {
        metas::add(target, kind);
    }
    let time = |ns: Option<u64>| ns.map(gst::ClockTime::from_nseconds);
    target.set_pts(time(wanted.pts));
    target.set_dts(time(wanted.dts));
    target.set_duration(time(wanted.duration));
    target.set_offset(wanted.offset.unwrap_or(u64::MAX));
    target.set_offset_end(wanted.offset_end.unwrap_or(u64::MAX));
    target.set_flags(wanted.flags());
    buffer
}
