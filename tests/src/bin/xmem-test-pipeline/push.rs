//! Buffers that a test describes. An `appsrc` pushes them into the pipeline.

use gst::prelude::*;
use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta};
use xmem_tests::{Line, metas, pipeline};

use crate::fdpool;

/// `push from=SRC [caps=CAPS] [count=1] [size=N] [seed=1] [memories=1] [pts=NS] [dts=NS]
/// [duration=NS] [offset=N] [offset-end=N] [flags=DISCONT+DELTA_UNIT] [pad=BYTES] [crop=X,Y,W,H]
/// [metas=regions+captions]`
///
/// Without `size`, buffers of raw video have the size of a frame. `memories` is the number of
/// memories of the buffer: one per plane, if the numbers match and `pad` is given. `pad` makes
/// every row longer, as a video meta says. `metas` are names of [`metas::KINDS`].
///
/// With `memfds=N` the buffers come from a pool of N memfds, which can be sealed unless
/// `unsealable=1`; the bytes start after `prefix=BYTES`.
pub(crate) fn push(source: &gst::Element, order: &Line) -> Line {
    let caps = order
        .get("caps")
        .map(|caps| caps.parse::<gst::Caps>().expect("caps"));
    let caps = caps.or_else(|| source.property::<Option<gst::Caps>>("caps"));
    if let Some(caps) = &caps {
        source.set_property("caps", caps);
    }
    let info = caps.as_ref().and_then(|caps| {
        let raw = caps.structure(0)?.name() == "video/x-raw";
        raw.then(|| VideoInfo::from_caps(caps).ok()).flatten()
    });
    let seed = order.get_number("seed").unwrap_or(1);
    let mut flow = gst::FlowReturn::Ok;
    for number in 0..order.get_number("count").unwrap_or(1) {
        let buffer = make(order, info.as_ref(), seed + number);
        flow = source.emit_by_name("push-buffer", &[&buffer]);
    }
    Line::new("pushed").with("flow", format!("{flow:?}"))
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

fn make(order: &Line, info: Option<&VideoInfo>, seed: u64) -> gst::Buffer {
    let layout = match (info, order.get_number("pad")) {
        (Some(info), Some(pad)) => Some(padded(info, pad)),
        _ => None,
    };
    let size = match (order.get_number("size"), &layout, info) {
        (Some(size), _, _) => size as usize,
        (None, Some((_, _, size)), _) => *size,
        (None, None, Some(info)) => info.size(),
        (None, None, None) => panic!("no size in \"{order}\""),
    };
    let mut bytes = vec![0; size];
    pipeline::fill(seed, &mut bytes);
    let memories = order.get_number("memories").unwrap_or(1) as usize;
    if let Some(count) = order.get_number("memfds") {
        let mut buffer = fdpool::buffer(fdpool::Kind {
            sealable: order.get_number("unsealable").is_none(),
            size,
            prefix: order.get_number("prefix").unwrap_or(0) as usize,
            count: count as u32,
        });
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
    if let Some(crop) = order.get("crop") {
        let numbers = crop
            .split(',')
            .map(|number| number.parse().expect("a number"));
        let [x, y, width, height] = numbers.collect::<Vec<u32>>()[..] else {
            panic!("{crop:?} is not X,Y,W,H");
        };
        gst_video::VideoCropMeta::add(target, (x, y, width, height));
    }
    for kind in order
        .get("metas")
        .into_iter()
        .flat_map(|kinds| kinds.split('+'))
    {
        metas::add(target, kind);
    }
    let time = |key| order.get_number(key).map(gst::ClockTime::from_nseconds);
    target.set_pts(time("pts"));
    target.set_dts(time("dts"));
    target.set_duration(time("duration"));
    target.set_offset(order.get_number("offset").unwrap_or(u64::MAX));
    target.set_offset_end(order.get_number("offset-end").unwrap_or(u64::MAX));
    let flags = order.get("flags").unwrap_or_default().split('+');
    for flag in flags.filter(|flag| !flag.is_empty()) {
        let flag = gst::BufferFlags::from_name(flag).expect("a buffer flag");
        target.set_flags(flag);
    }
    buffer
}
