//! A process of the demo, which `examples/demo.sh` directs: run `make demo`.
//!
//!     demo elements                     # says which GStreamer element is missing
//!     demo pipeline NAME DESCRIPTION    # runs a pipeline, as gst-launch-1.0 does
//!     demo inference                    # a client without GStreamer
//!
//! The last two print a line for each frame that they receive, or that leaves the element NAME of
//! the pipeline (reaches it, if that is a sink): the producer's name, the frame's position, when it
//! arrived, when its bytes were read (`CLOCK_MONOTONIC`, ns), their hash, their number, how their
//! memory is mapped, and where they are in it.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Write, stdout};
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::meta::CustomMeta;
use gst::prelude::*;
use rustix::process::{Signal, set_parent_process_death_signal};
use xmem_core::{Channel, Delivery, Error, Subscriber};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A package of Debian and Ubuntu, and its elements that the demo needs.
#[rustfmt::skip]
const ELEMENTS: [(&str, &str); 5] = [
    ("gstreamer1.0-plugins-base", "videotestsrc videoconvert videoscale"),
    ("gstreamer1.0-plugins-good", "matroskamux matroskademux pngenc"),
    ("gstreamer1.0-plugins-ugly", "x264enc"),
    ("gstreamer1.0-libav", "avdec_h264"),
    ("xmem itself: run \"make build\"", "xmemsink xmemsrc"),
];
/// Bytes that are hashed at once.
const BLOCK: usize = 64 << 10;
/// What a network would take for a frame: longer than a frame lasts.
const INFERENCE: Duration = Duration::from_millis(25);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The kernel kills this process when the script ends, however that ends.
    let result = set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into);
    let result = result.and_then(|()| match arguments[..] {
        ["elements"] => check_elements(),
        ["pipeline", name, description] => run_pipeline(name, description),
        ["inference"] => infer(),
        _ => Err("run \"make demo\"".into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check_elements() -> Result<()> {
    gst::init()?;
    for (package, elements) in ELEMENTS {
        for name in elements.split(' ') {
            gst::ElementFactory::find(name)
                .ok_or(format!("GStreamer has no {name}, which is in {package}"))?;
        }
    }
    Ok(())
}

/// Runs a pipeline to its end, and prints what passes the element `name`.
fn run_pipeline(name: &str, description: &str) -> Result<()> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?;
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let pipeline = pipeline
        .downcast::<gst::Bin>()
        .map_err(|_| "not a pipeline")?;
    let element = pipeline.by_name(name).ok_or("nothing to watch")?;
    let pad = element.static_pad("src").or(element.static_pad("sink"));
    let (name, count) = (name.to_owned(), AtomicU64::new(0));
    pad.ok_or("no pad to watch")?
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let arrived = now();
            if let Some(buffer) = info.buffer() {
                // A frame that is not published yet gets the position that xmemsink will give it.
                let id = (name.clone(), count.fetch_add(1, Ordering::Relaxed));
                print_buffer(buffer, id, arrived).unwrap_or_else(give_up);
            }
            gst::PadProbeReturn::Ok
        });
    // If that fails, the message that says why is on the bus already.
    let timeout = match pipeline.set_state(gst::State::Playing) {
        Ok(_) => gst::ClockTime::NONE,
        Err(_) => Some(gst::ClockTime::ZERO),
    };
    let end = bus.timed_pop_filtered(timeout, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string().into()),
        _ => Err("the pipeline does not start".into()),
    }
}

fn print_buffer(buffer: &gst::BufferRef, mut id: (String, u64), arrived: u64) -> Result<()> {
    if let Ok(record) = CustomMeta::from_buffer(buffer, "XmemBufferMeta") {
        let record = record.structure();
        id = (record.get("producer")?, record.get("seq")?);
    }
    let map = buffer.map_readable()?;
    let mut hasher = DefaultHasher::new();
    map.chunks(BLOCK).for_each(|block| hasher.write(block));
    print(
        &id.0,
        id.1,
        arrived,
        hasher.finish(),
        map.as_ptr(),
        map.len(),
    )
}

/// Receives the newest frame, so that the producer never waits for this client.
fn infer() -> Result<()> {
    let builder = Subscriber::builder(Channel::name("demo"))
        .name("inference")
        .delivery(Delivery::Latest)
        .connect_timeout(None);
    loop {
        match builder.clone().connect().and_then(infer_all) {
            Err(Error::EndOfStream) => return Ok(()),
            Err(error) if error.is_retryable() => eprintln!("{error}; waits for a producer"),
            Err(error) => return Err(error.into()),
        }
    }
}

fn infer_all(mut subscriber: Subscriber) -> xmem_core::Result<Infallible> {
    let mut block = [0; BLOCK];
    loop {
        let frame = subscriber.receive(None)?;
        let (arrived, payload) = (now(), frame.payload()?);
        let mut hasher = DefaultHasher::new();
        for start in (0..payload.len()).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(payload.len() - start)];
            payload.read(start, block);
            hasher.write(block);
        }
        let (producer, start) = (frame.meta().producer(), payload.as_ptr());
        print(
            producer,
            frame.seq(),
            arrived,
            hasher.finish(),
            start,
            payload.len(),
        )
        .unwrap_or_else(give_up);
        std::thread::sleep(INFERENCE);
    }
}

fn print(
    producer: &str,
    seq: u64,
    arrived: u64,
    hash: u64,
    start: *const u8,
    len: usize,
) -> Result<()> {
    let (place, read) = (place(start)?, now());
    let line = format!("{producer} {seq} {arrived} {read} {hash} {len} {place}\n");
    Ok(stdout().write_all(line.as_bytes())?)
}

/// How the memory of xmem at an address is mapped, its inode, and the offset in it: the same byte
/// has the same inode and offset in all processes. From lines of `/proc/self/maps` like
/// `7f3e5c000000-7f3e5c546000 r--s 00000000 00:01 2077 /memfd:xmem-payload (deleted)`.
fn place(start: *const u8) -> Result<String> {
    let number = |digits| usize::from_str_radix(digits, 16);
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [range, access, offset, _, inode, "/memfd:xmem-payload", ..] = words[..] {
            let (first, end) = range.split_once('-').ok_or("a mapping has no range")?;
            if (number(first)?..number(end)?).contains(&start.addr()) {
                let offset = number(offset)? + start.addr() - number(first)?;
                return Ok(format!("{access} {inode}+{offset}"));
            }
        }
    }
    Ok("private none".into())
}

fn now() -> u64 {
    xmem_core::monotonic_time().as_nanos() as u64
}

/// A streaming thread has no caller that takes an error.
fn give_up(error: Box<dyn std::error::Error + Send + Sync>) {
    eprintln!("{error}");
    exit(1)
}
