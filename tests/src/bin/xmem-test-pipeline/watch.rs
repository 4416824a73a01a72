//! Watched pads: each buffer that passes is read, and reported if the test wants it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use gst_video::{VideoInfo, VideoMeta};
use xmem_tests::{Line, metas};

use crate::cuda;
use crate::digest::digest;
use crate::events;

/// One buffer in this many is sampled. The digest of a buffer decides, so all processes sample the
/// same buffers.
const SAMPLE: u64 = 16;

/// One watched pad.
pub(crate) struct Watch {
    /// `ELEMENT.PAD`.
    pub(crate) name: String,
    /// Number of buffers that have passed.
    pub(crate) count: AtomicU64,
    /// Number of their bytes.
    pub(crate) size: AtomicU64,
    /// All digests so far, combined.
    pub(crate) digest: AtomicU64,
    detail: Detail,
    bytes: bool,
    info: Mutex<Option<VideoInfo>>,
    /// The last buffers that have passed, which are kept from being freed.
    held: Mutex<VecDeque<gst::Buffer>>,
    to_hold: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Copy,
    Count,
    Sample,
    Report,
    Inspect,
}

/// Watches `pad`, given as `ELEMENT.PAD`, as the option says.
pub(crate) fn start(pipeline: &gst::Pipeline, option: &str, name: &str) -> Arc<Watch> {
    let (element, pad) = name.rsplit_once('.').expect("ELEMENT.PAD");
    let pad = pipeline
        .by_name(element)
        .unwrap_or_else(|| panic!("no element {element}"))
        .static_pad(pad)
        .unwrap_or_else(|| panic!("no pad {pad}"));
    let marks = option == "--mark";
    let (detail, bytes) = match option {
        "--count" | "--mark" => (Detail::Count, false),
        "--copy" => (Detail::Copy, false),
        "--sample" => (Detail::Sample, false),
        "--report" => (Detail::Report, false),
        "--inspect" => (Detail::Inspect, false),
        "--report-bytes" => (Detail::Report, true),
        "--inspect-bytes" => (Detail::Inspect, true),
        _ => panic!("unknown option {option}"),
    };
    let watch = Arc::new(Watch {
        name: name.to_owned(),
        count: AtomicU64::new(0),
        size: AtomicU64::new(0),
        digest: AtomicU64::new(0),
        detail,
        bytes,
        info: Mutex::default(),
        held: Mutex::default(),
        to_hold: AtomicUsize::new(0),
    });
    let probe = watch.clone();
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_UPSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if marks {
                    metas::add(buffer.make_mut(), "regions");
                }
                probe.buffer(pad, buffer);
            }
            Some(gst::PadProbeData::Event(event)) => probe.event(event),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    watch
}

impl Watch {
    /// Keeps the last `count` buffers from now on.
    pub(crate) fn hold(&self, count: usize) {
        self.to_hold.store(count, Ordering::Relaxed);
        let mut held = self.held.lock().expect("not poisoned");
        let surplus = held.len().saturating_sub(count);
        let let_go = held.drain(..surplus).collect::<Vec<_>>();
        drop(held);
        drop(let_go);
    }

    /// The digests of the kept buffers.
    pub(crate) fn held(&self) -> String {
        let held = self.held.lock().expect("not poisoned");
        let digests = held.iter().map(|buffer| digest(buffer, None));
        list(digests.map(|digest| format!("{digest:016x}")))
    }

    /// Tries to write to the memory of the kept buffers. Returns how many times that was refused,
    /// and how many times it was allowed.
    pub(crate) fn scribble(&self) -> (usize, usize) {
        let held = self.held.lock().expect("not poisoned");
        let memories = held.iter().flat_map(|buffer| buffer.iter_memories_owned());
        let outcomes = memories.map(|memory| match memory.into_mapped_memory_writable() {
            Ok(mut map) => {
                map.fill(0xa5);
                true
            }
            Err(_) => false,
        });
        let (allowed, refused): (Vec<_>, Vec<_>) = outcomes.partition(|allowed| *allowed);
        (refused.len(), allowed.len())
    }

    fn buffer(&self, pad: &gst::Pad, buffer: &gst::Buffer) {
        if self.detail == Detail::Copy {
            cuda::copy(buffer);
            self.count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The second reference keeps reading from changing the buffer: mapping a writable buffer of
        // several memories would merge them.
        let _shared = buffer.clone();
        let info = self.info.lock().expect("not poisoned").clone();
        let info = info.filter(|_| !self.bytes);
        let digest = digest(buffer, info.as_ref());
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let size = buffer.size() as u64;
        self.size.fetch_add(size, Ordering::Relaxed);
        let mixed = self.digest.load(Ordering::Relaxed).rotate_left(7) ^ digest;
        self.digest.store(mixed, Ordering::Relaxed);
        let to_hold = self.to_hold.load(Ordering::Relaxed);
        if to_hold > 0 {
            let mut held = self.held.lock().expect("not poisoned");
            held.push_back(buffer.clone());
            while held.len() > to_hold {
                held.pop_front();
            }
        }
        match self.detail {
            Detail::Count => return,
            Detail::Sample if !digest.is_multiple_of(SAMPLE) => return,
            _ => {}
        }
        let element = pad.parent_element();
        let base_time = element.and_then(|element| element.base_time());
        let mut line = Line::new("buffer")
            .with("at", &self.name)
            .with("n", number)
            .with("digest", format!("{digest:016x}"))
            .with("size", buffer.size())
            .with("pts", time(buffer.pts()))
            .with("dts", time(buffer.dts()))
            .with("duration", time(buffer.duration()))
            .with("offset", number_or_none(buffer.offset()))
            .with("offset-end", number_or_none(buffer.offset_end()))
            .with("flags", flags(buffer.flags()))
            .with("base-time", time(base_time))
            .with(
                "due",
                due(pad, buffer).map_or("none".into(), |due| due.to_string()),
            )
            .with("due-monotonic", due_monotonic(pad, buffer))
            .with("now", xmem_core::monotonic_time().as_nanos());
        if self.detail >= Detail::Inspect {
            line = inspect(line, buffer, info.as_ref());
        }
        println!("{line}");
    }

    fn event(&self, event: &gst::Event) {
        if let gst::EventView::Caps(caps) = event.view() {
            let raw = caps.caps().structure(0).is_some_and(|structure| {
                structure.name() == "video/x-raw" && structure.has_field("format")
            });
            let info = raw.then(|| VideoInfo::from_caps(caps.caps()).ok());
            *self.info.lock().expect("not poisoned") = info.flatten();
        }
        let line = Line::new("event").with("at", &self.name);
        let line = line.with("type", event.type_().name());
        let line = line.with("seqnum", event.seqnum().into_glib());
        println!("{}", events::tell(line, event));
    }
}

/// When a buffer is due on the clock of its pipeline; negative before that clock's zero.
fn due(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<i128> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let running_time = segment.to_running_time_full(buffer.pts()?)?;
    let running_time = if running_time.is_negative() {
        -i128::from(running_time.abs().nseconds())
    } else {
        i128::from(running_time.abs().nseconds())
    };
    let base_time = pad.parent_element()?.base_time()?;
    Some(running_time + i128::from(base_time.nseconds()))
}

/// When a buffer is due on `CLOCK_MONOTONIC`.
fn due_monotonic(pad: &gst::Pad, buffer: &gst::BufferRef) -> String {
    let clock = pad.parent_element().and_then(|element| element.clock());
    let Some((due, clock)) = due(pad, buffer).zip(clock) else {
        return "none".into();
    };
    // Of several comparisons of the two clocks, the one that took the least time is the most exact.
    let looks = (0..8).map(|_| {
        let before = xmem_core::monotonic_time().as_nanos() as i128;
        let there = i128::from(clock.time().nseconds());
        let after = xmem_core::monotonic_time().as_nanos() as i128;
        (after - before, (before + after) / 2 - there)
    });
    let (_, ahead) = looks.min().expect("at least one comparison");
    (due + ahead).to_string()
}

fn time(time: Option<gst::ClockTime>) -> String {
    time.map_or("none".into(), |time| time.nseconds().to_string())
}

fn number_or_none(number: u64) -> String {
    match number {
        u64::MAX => "none".into(),
        number => number.to_string(),
    }
}

/// The names of the flags, without those of the memory: `DISCONT+DELTA_UNIT`.
fn flags(flags: gst::BufferFlags) -> String {
    let flags = flags - gst::BufferFlags::TAG_MEMORY;
    let names = flags.iter_names().map(|(name, _)| name);
    let names = names.collect::<Vec<_>>().join("+");
    if names.is_empty() {
        "none".into()
    } else {
        names
    }
}

fn list<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
    let numbers = numbers.into_iter().map(|number| number.to_string());
    let list = numbers.collect::<Vec<_>>().join(",");
    if list.is_empty() {
        "empty".into()
    } else {
        list
    }
}

/// Adds all properties of a buffer, and the results of writing to it.
fn inspect(mut line: Line, buffer: &gst::Buffer, info: Option<&VideoInfo>) -> Line {
    line = line.with("memories", buffer.n_memory());
    line = line.with("allocator", allocator(buffer));
    if let Some(meta) = buffer.meta::<VideoMeta>() {
        let alignment = meta.alignment();
        let padding = [
            alignment.padding_top(),
            alignment.padding_bottom(),
            alignment.padding_left(),
            alignment.padding_right(),
        ];
        line = line
            .with("video-format", meta.format())
            .with("video-size", format!("{}x{}", meta.width(), meta.height()))
            .with("video-strides", list(meta.stride()))
            .with("video-offsets", list(meta.offset()))
            .with("video-padding", list(padding));
    }
    if let Some(crop) = buffer.meta::<gst_video::VideoCropMeta>() {
        let (x, y, width, height) = crop.rect();
        line = line.with("video-crop", list([x, y, width, height]));
    }
    let told = metas::told(buffer);
    let told = told.iter().filter(|meta| !is_told_otherwise(meta));
    let told = told.map(|meta| meta.replace(char::is_whitespace, "_"));
    let told = told.collect::<Vec<_>>();
    if !told.is_empty() {
        line = line.with("metas", told.join("|"));
    }
    line = record(line, buffer);
    if buffer.size() > 0 {
        line = write(line, buffer, info);
    }
    line
}

/// Whether a meta has fields of its own in the report.
fn is_told_otherwise(meta: &str) -> bool {
    ["GstVideoMeta", "GstVideoCropMeta", "XmemBufferMeta"]
        .iter()
        .any(|name| meta.starts_with(name))
}

fn allocator(buffer: &gst::BufferRef) -> String {
    let memory = buffer.iter_memories().next();
    let allocator = memory.and_then(|memory| Some(memory.allocator()?.type_().name()));
    allocator.unwrap_or("none").to_owned()
}

/// Adds the fields of the record and their types.
fn record(mut line: Line, buffer: &gst::BufferRef) -> Line {
    let Ok(meta) = gst::meta::CustomMeta::from_buffer(buffer, "XmemBufferMeta") else {
        return line;
    };
    for (name, value) in meta.structure().iter() {
        let text = match value.get::<gst::ArrayRef>() {
            Ok(array) => list(array.iter().map(|number| {
                let number = number.get::<u64>().expect("shapes and strides are of u64");
                number.to_string()
            })),
            Err(_) => {
                let text = value
                    .transform::<String>()
                    .expect("the value converts to text");
                text.get().expect("the field is set")
            }
        };
        line = line.with(&format!("record-{name}"), text);
        line = line.with(&format!("record-{name}-type"), value.type_());
    }
    line
}

/// Tries to write to the buffer in all ways.
fn write(mut line: Line, buffer: &gst::Buffer, info: Option<&VideoInfo>) -> Line {
    let before = digest(buffer, info);
    // The memory itself cannot be written.
    let memory = buffer.iter_memories_owned().next();
    let memory = memory.expect("the buffer has a memory");
    let refused = memory.into_mapped_memory_writable().is_err();
    line = line.with(
        "write-to-memory",
        if refused { "refused" } else { "allowed" },
    );
    // A copy is made for writing, and no other reader sees what is written to it.
    let mut copy = buffer.copy();
    let from = buffer
        .map_readable()
        .expect("the buffer can be read")
        .as_ptr();
    let copied = match copy.make_mut().map_writable() {
        Ok(mut map) => {
            let copied = map.as_ptr() != from;
            if copied {
                map.fill(0xa5);
            }
            copied
        }
        Err(_) => false,
    };
    line = line.with("write-to-buffer", if copied { "copies" } else { "shares" });
    let changed = digest(buffer, info) != before;
    line.with("changed", changed)
}
