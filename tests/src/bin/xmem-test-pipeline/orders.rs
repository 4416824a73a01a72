//! The orders to the pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gst::prelude::*;
use xmem_tests::Line;
use xmem_tests::pipeline::{Order, State};

use crate::cuda;
use crate::fdpool;
use crate::push::push;
use crate::watch::Watch;

/// How long `settle` waits for a state change.
const SETTLING: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Obeys an order. Returns the result and the time that it took (`ms`).
pub(crate) fn obey(pipeline: &gst::Pipeline, watches: &[Arc<Watch>], order: &Order) -> Line {
    let element = |name: &String| {
        let element = pipeline.by_name(name);
        element.unwrap_or_else(|| panic!("no element {name:?}"))
    };
    let target = |name: &Option<String>| match name {
        Some(name) => element(name),
        None => pipeline.clone().upcast(),
    };
    let watch = |name: &String| {
        let watch = watches.iter().find(|watch| watch.name == *name);
        watch.unwrap_or_else(|| panic!("{name:?} is not watched"))
    };
    let answer = Line::new("answer");
    let started = Instant::now();
    let answer = match order {
        Order::State { of, to } => set_state(&target(of), (*to).into()),
        Order::Settle(of) => {
            let (result, current, pending) = target(of).state(SETTLING);
            answer
                .with("result", outcome(result))
                .with("state", format!("{current:?}"))
                .with("pending", format!("{pending:?}"))
        }
        Order::Cycle(count) => cycle(pipeline, *count),
        Order::Walk { of, paths, settle } => walk(&target(of), paths, *settle),
        Order::Toggle(count) => {
            for _ in 0..*count {
                for state in [gst::State::Paused, gst::State::Playing] {
                    // The previous state change may not be complete yet.
                    let _ = pipeline.set_state(state);
                }
            }
            answer
        }
        Order::Step { of, count } => {
            let count = gst::format::Buffers::from_u64(*count);
            let step = gst::event::Step::new(count, 1.0, true, false);
            answer.with("sent", element(of).send_event(step))
        }
        Order::Stats(of) => stats(&element(of)),
        Order::Get { of, property } => {
            answer.with("text", text(&element(of).property_value(property)))
        }
        Order::Set {
            of,
            property,
            value,
        } => {
            element(of).set_property_from_str(property, value);
            answer
        }
        Order::Post => {
            let said = gst::Structure::new_empty("order");
            let message = gst::message::Application::new(said);
            pipeline.post_message(message).expect("there is a bus");
            answer
        }
        Order::Push(buffers) => push(&element(&buffers.from), buffers),
        Order::PushCuda {
            from,
            caps,
            count,
            buffers,
        } => answer.with("flow", cuda::push(&element(from), caps, *count, *buffers)),
        Order::ShareCuda => {
            cuda::share(pipeline);
            answer
        }
        Order::Unused => answer.with("count", fdpool::unused()),
        Order::GiveUp => {
            fdpool::give_up();
            answer
        }
        Order::Drain(of) => {
            let pad = element(of).static_pad("src").expect("a source");
            let answered = pad.peer_query(&mut gst::query::Drain::new());
            answer.with("answered", answered)
        }
        Order::End(of) => {
            let flow: gst::FlowReturn = element(of).emit_by_name("end-of-stream", &[]);
            answer.with("flow", format!("{flow:?}"))
        }
        Order::Eos => answer.with("sent", pipeline.send_event(gst::event::Eos::new())),
        Order::Flush(of) => {
            let started = element(of).send_event(gst::event::FlushStart::new());
            let stopped = element(of).send_event(gst::event::FlushStop::new(true));
            answer.with("start", started).with("stop", stopped)
        }
        Order::Seek { of, seek } => {
            answer.with("done", target(of).send_event(crate::events::seek(seek)))
        }
        Order::BaseTime => {
            let base_time = pipeline.base_time().map_or(0, gst::ClockTime::nseconds);
            answer.with("ns", base_time)
        }
        Order::Formats => {
            let formats = gst_video::VideoFormat::iter_raw().map(|format| format.to_string());
            answer.with("text", formats.collect::<Vec<_>>().join(","))
        }
        Order::VideotestsrcFormats => {
            let factory = gst::ElementFactory::find("videotestsrc").expect("videotestsrc");
            let templates = factory.static_pad_templates();
            let caps = templates
                .iter()
                .next()
                .expect("the element has a pad template")
                .caps();
            let raw = caps
                .structure(0)
                .expect("the element makes raw video")
                .to_owned();
            let formats = raw.get::<gst::List>("format").expect("many formats");
            let formats = formats
                .iter()
                .filter_map(|format| format.get::<&str>().ok());
            answer.with("text", formats.collect::<Vec<_>>().join(","))
        }
        Order::Clock(wanted) => {
            let kind = if wanted.is_realtime {
                gst::ClockType::Realtime
            } else {
                gst::ClockType::Monotonic
            };
            let clock = gst::glib::Object::builder::<gst::SystemClock>();
            let clock = clock.property("clock-type", kind).build();
            if wanted.ppm != 0 {
                calibrate(clock.upcast_ref(), wanted.ppm, 0);
            }
            pipeline.use_clock(Some(&clock));
            answer
        }
        Order::Calibrate { ppm, ahead } => {
            let clock = pipeline.clock().expect("the pipeline has a clock");
            calibrate(&clock, *ppm, *ahead);
            answer
        }
        Order::ClockOf(of) => {
            let clock = element(of).provide_clock();
            pipeline.use_clock(clock.as_ref());
            let kind = clock.map_or("none".into(), |clock| clock.type_().to_string());
            answer.with("type", kind)
        }
        Order::Send { of, pad, event } => {
            let (element, event) = (element(of), crate::events::build(event));
            let taken = match pad {
                Some(pad) => {
                    let pad = element.static_pad(pad).expect("the element has the pad");
                    pad.push_event(event)
                }
                None => element.send_event(event),
            };
            answer.with("taken", taken)
        }
        Order::Position(of) => {
            let position = element(of).query_position::<gst::ClockTime>();
            let position = position.map_or("none".into(), |time| time.nseconds().to_string());
            answer.with("ns", position)
        }
        Order::Duration { of, format } => {
            let mut query = gst::query::Duration::new(gst::Format::from(*format));
            let answered = element(of).query(&mut query);
            answer
                .with("answered", answered)
                .with("value", known(query.result()))
        }
        Order::Seeking { of, format } => {
            let mut query = gst::query::Seeking::new(gst::Format::from(*format));
            let answered = element(of).query(&mut query);
            let (seekable, start, end) = query.result();
            answer
                .with("answered", answered)
                .with("seekable", seekable)
                .with("start", known(start))
                .with("end", known(end))
        }
        Order::Latency(of) => {
            let mut query = gst::query::Latency::new();
            let answered = target(of).query(&mut query);
            let (live, least, most) = query.result();
            answer
                .with("answered", answered)
                .with("live", live)
                .with("min", least.nseconds())
                .with(
                    "max",
                    most.map_or("none".into(), |most| most.nseconds().to_string()),
                )
        }
        Order::Watched(at) => {
            let watch = watch(at);
            answer
                .with("count", watch.count.load(Ordering::Relaxed))
                .with("size", watch.size.load(Ordering::Relaxed))
                .with("digest", watch.digest.load(Ordering::Relaxed))
        }
        Order::Hold { at, count } => {
            watch(at).hold(*count);
            answer
        }
        Order::Digest(at) => answer.with("held", watch(at).held()),
        Order::Scribble(at) => {
            let (refused, allowed) = watch(at).scribble();
            answer.with("refused", refused).with("allowed", allowed)
        }
    };
    answer.with("ms", started.elapsed().as_millis())
}

/// The result of a query, if it is known.
fn known(value: gst::GenericFormattedValue) -> String {
    match value.value() {
        -1 => "none".into(),
        value => value.to_string(),
    }
}

/// Sets the rate of a clock, `ppm` millionths faster than its internal time. The clock continues
/// from its current time, or from a later time.
fn calibrate(clock: &gst::Clock, ppm: i64, ahead: u64) {
    let ahead = gst::ClockTime::from_nseconds(ahead);
    let (internal, now) = (clock.internal_time(), clock.time());
    let rate = 1_000_000_u64.saturating_add_signed(ppm);
    clock.set_calibration(internal, now + ahead, rate, 1_000_000);
}

fn outcome(result: Result<gst::StateChangeSuccess, gst::StateChangeError>) -> String {
    match result {
        Ok(success) => format!("{success:?}"),
        Err(_) => "Failure".into(),
    }
}

fn set_state(element: &gst::Element, state: gst::State) -> Line {
    let result = element.set_state(state);
    Line::new("answer").with("result", outcome(result))
}

/// Changes the state to PLAYING and to NULL again, `count` times without a pause.
fn cycle(pipeline: &gst::Pipeline, count: u64) -> Line {
    for _ in 0..count {
        for state in [State::Ready, State::Paused, State::Playing, State::Null] {
            if pipeline.set_state(state.into()).is_err() {
                return Line::new("answer").with("result", format!("failed-at-{state:?}"));
            }
        }
    }
    Line::new("answer").with("result", "Success")
}

/// Changes the state along each path, at once or, with `settle`, after the previous change is
/// complete.
fn walk(element: &gst::Element, paths: &[Vec<State>], settle: bool) -> Line {
    for path in paths {
        for state in path {
            let target = gst::State::from(*state);
            let changed = element.set_state(target);
            let settled = settle.then(|| element.state(SETTLING));
            let is_there = settled.is_none_or(|(result, current, pending)| {
                let done =
                    matches!(result, Ok(success) if success != gst::StateChangeSuccess::Async);
                done && current == target && pending == gst::State::VoidPending
            });
            if changed.is_err() || !is_there {
                let how = outcome(changed);
                let result = format!("{how}-to-{state:?}-in-{path:?}:{settled:?}").replace(' ', "");
                return Line::new("answer").with("result", result);
            }
        }
    }
    Line::new("answer").with("result", "Success")
}

/// The statistics of an element as fields; those of client 0 are `client-0-pid` and so on.
fn stats(element: &gst::Element) -> Line {
    let figures = element.property::<gst::Structure>("stats");
    let mut line = Line::new("answer");
    for (name, value) in figures.iter() {
        if let Ok(array) = value.get::<gst::Array>() {
            line = line.with(name, array.len());
            for (number, entry) in array.iter().enumerate() {
                let entry = entry.get::<gst::Structure>().expect("a structure");
                for (field, value) in entry.iter() {
                    line = line.with(&format!("client-{number}-{field}"), word(value));
                }
            }
        } else {
            line = line.with(name, word(value));
        }
    }
    line
}

/// A value as one word.
fn word(value: &gst::glib::Value) -> String {
    text(value).replace(' ', "_")
}

/// A value as text.
fn text(value: &gst::glib::Value) -> String {
    let text = value
        .transform::<String>()
        .expect("the value converts to text");
    let text = text.get::<Option<String>>().expect("a text");
    text.unwrap_or_default()
}
