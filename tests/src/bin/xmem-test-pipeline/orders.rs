//! The orders to the pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gst::prelude::*;
use xmem_tests::Line;

use crate::fdpool;
use crate::push::push;
use crate::watch::Watch;

/// How long `settle` waits for a state change.
const SETTLING: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Obeys an order. Returns the result and the time that it took (`ms`).
pub(crate) fn obey(pipeline: &gst::Pipeline, watches: &[Arc<Watch>], order: &Line) -> Line {
    let element = |key: &str| {
        let name = order.text(key);
        let element = pipeline.by_name(name);
        element.unwrap_or_else(|| panic!("no element {name:?}"))
    };
    let watch = || {
        let name = order.text("at");
        let watch = watches.iter().find(|watch| watch.name == name);
        watch.unwrap_or_else(|| panic!("{name:?} is not watched"))
    };
    let target = || match order.get("of") {
        Some(_) => element("of"),
        None => pipeline.clone().upcast(),
    };
    let started = Instant::now();
    let answer = match order.word.as_str() {
        // state to=playing [of=ELEMENT]
        "state" => set_state(&target(), state(order.text("to"))),
        // settle [of=ELEMENT]
        "settle" => {
            let (result, current, pending) = target().state(SETTLING);
            Line::new("settled")
                .with("result", outcome(result))
                .with("state", format!("{current:?}"))
                .with("pending", format!("{pending:?}"))
        }
        // cycle count=1000
        "cycle" => cycle(pipeline, order.number("count")),
        // walk paths=ready.null+playing.paused.null [of=ELEMENT] [settle=true]
        "walk" => {
            let settle = order.get("settle").is_some();
            walk(&target(), order.text("paths"), settle)
        }
        // toggle count=1000
        "toggle" => {
            for _ in 0..order.number("count") {
                for name in ["paused", "playing"] {
                    // The previous state change may not be complete yet.
                    let _ = pipeline.set_state(state(name));
                }
            }
            Line::new("toggled")
        }
        // step of=ELEMENT count=3
        "step" => {
            let count = gst::format::Buffers::from_u64(order.number("count"));
            let step = gst::event::Step::new(count, 1.0, true, false);
            Line::new("stepping").with("sent", element("of").send_event(step))
        }
        // stats of=ELEMENT
        "stats" => stats(&element("of")),
        // get of=ELEMENT property=NAME
        "get" => {
            let value = element("of").property_value(order.text("property"));
            let text = value
                .transform::<String>()
                .expect("the value converts to text");
            let text = text.get::<Option<String>>().expect("a text");
            Line::new("value").with("text", text.unwrap_or_default())
        }
        // set of=ELEMENT property=NAME text=VALUE
        "set" => {
            element("of").set_property_from_str(order.text("property"), order.text("text"));
            Line::new("set")
        }
        // post: an application message, which arrives after all messages that were posted before
        "post" => {
            let said = gst::Structure::new_empty("order");
            let message = gst::message::Application::new(said);
            pipeline.post_message(message).expect("there is a bus");
            Line::new("posted")
        }
        // push from=SRC ...
        "push" => push(&element("from"), order),
        // unused: number of buffers in the pools of "push" that are not in use
        "unused" => Line::new("unused").with("count", fdpool::unused()),
        // give-up
        "give-up" => {
            fdpool::give_up();
            Line::new("given-up")
        }
        // drain from=SRC
        "drain" => {
            let pad = element("from").static_pad("src").expect("a source");
            let answered = pad.peer_query(&mut gst::query::Drain::new());
            Line::new("drained").with("answered", answered)
        }
        // end from=SRC
        "end" => {
            let flow: gst::FlowReturn = element("from").emit_by_name("end-of-stream", &[]);
            Line::new("ended").with("flow", format!("{flow:?}"))
        }
        // eos
        "eos" => Line::new("ended").with("sent", pipeline.send_event(gst::event::Eos::new())),
        // flush of=ELEMENT
        "flush" => {
            let started = element("of").send_event(gst::event::FlushStart::new());
            let stopped = element("of").send_event(gst::event::FlushStop::new(true));
            Line::new("flushed")
                .with("start", started)
                .with("stop", stopped)
        }
        // seek [of=ELEMENT] [rate=2] [start=NS] [end=NS] [stop=NS] [flags=segment+accurate]: "end" counts from
        // the end of the stream
        "seek" => {
            let sought = target().send_event(crate::events::seek(order));
            Line::new("sought").with("done", sought)
        }
        // base-time
        "base-time" => {
            let base_time = pipeline.base_time().map_or(0, gst::ClockTime::nseconds);
            Line::new("base-time").with("ns", base_time)
        }
        // formats
        "formats" => {
            let formats = gst_video::VideoFormat::iter_raw().map(|format| format.to_string());
            Line::new("formats").with("text", formats.collect::<Vec<_>>().join(","))
        }
        // videotestsrc-formats
        "videotestsrc-formats" => {
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
            Line::new("formats").with("text", formats.collect::<Vec<_>>().join(","))
        }
        // clock type=monotonic|realtime ppm=-500: a clock that is faster than that one by so many
        // millionths
        "clock" => {
            let kind = match order.text("type") {
                "realtime" => gst::ClockType::Realtime,
                _ => gst::ClockType::Monotonic,
            };
            let clock = gst::glib::Object::builder::<gst::SystemClock>();
            let clock = clock.property("clock-type", kind).build();
            if order.text("ppm") != "0" {
                calibrate(clock.upcast_ref(), order);
            }
            pipeline.use_clock(Some(&clock));
            Line::new("clocked")
        }
        // calibrate ppm=-500 [ahead=NS]: changes the rate of the pipeline's clock, after a jump by
        // NS
        "calibrate" => {
            calibrate(&pipeline.clock().expect("the pipeline has a clock"), order);
            Line::new("calibrated")
        }
        // clock-of of=ELEMENT: the pipeline uses the clock of the element from now on, if it
        // provides one
        "clock-of" => {
            let clock = element("of").provide_clock();
            pipeline.use_clock(clock.as_ref());
            let kind = clock.map_or("none".into(), |clock| clock.type_().to_string());
            Line::new("clocked").with("type", kind)
        }
        // send of=ELEMENT [pad=PAD] event=NAME ...: sends an event to an element, or from its pad
        "send" => {
            let event = crate::events::build(order);
            let taken = match order.get("pad") {
                Some(pad) => {
                    let pad = element("of")
                        .static_pad(pad)
                        .expect("the element has the pad");
                    pad.push_event(event)
                }
                None => element("of").send_event(event),
            };
            Line::new("sent").with("taken", taken)
        }
        // position of=ELEMENT
        "position" => {
            let position = element("of").query_position::<gst::ClockTime>();
            let position = position.map_or("none".into(), |time| time.nseconds().to_string());
            Line::new("position").with("ns", position)
        }
        // duration of=ELEMENT [format=default]
        "duration" => {
            let mut query = gst::query::Duration::new(format(order));
            let answered = element("of").query(&mut query);
            Line::new("duration")
                .with("answered", answered)
                .with("value", known(query.result()))
        }
        // seeking of=ELEMENT [format=default]
        "seeking" => {
            let mut query = gst::query::Seeking::new(format(order));
            let answered = element("of").query(&mut query);
            let (seekable, start, end) = query.result();
            Line::new("seeking")
                .with("answered", answered)
                .with("seekable", seekable)
                .with("start", known(start))
                .with("end", known(end))
        }
        // latency [of=ELEMENT]
        "latency" => {
            let mut query = gst::query::Latency::new();
            let answered = target().query(&mut query);
            let (live, least, most) = query.result();
            Line::new("latency")
                .with("answered", answered)
                .with("live", live)
                .with("min", least.nseconds())
                .with(
                    "max",
                    most.map_or("none".into(), |most| most.nseconds().to_string()),
                )
        }
        // watched at=ELEMENT.PAD
        "watched" => Line::new("watched")
            .with("count", watch().count.load(Ordering::Relaxed))
            .with("size", watch().size.load(Ordering::Relaxed))
            .with("digest", watch().digest.load(Ordering::Relaxed)),
        // hold at=ELEMENT.PAD count=3
        "hold" => {
            watch().hold(order.number("count") as usize);
            Line::new("held")
        }
        // digest at=ELEMENT.PAD
        "digest" => Line::new("digest").with("held", watch().held()),
        // scribble at=ELEMENT.PAD
        "scribble" => {
            let (refused, allowed) = watch().scribble();
            Line::new("scribbled")
                .with("refused", refused)
                .with("allowed", allowed)
        }
        other => panic!("{other:?} is not an order"),
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

/// The format of positions that an order asks for.
fn format(order: &Line) -> gst::Format {
    match order.get("format") {
        Some("default") => gst::Format::Default,
        Some("bytes") => gst::Format::Bytes,
        Some("percent") => gst::Format::Percent,
        _ => gst::Format::Time,
    }
}

fn state(name: &str) -> gst::State {
    match name {
        "null" => gst::State::Null,
        "ready" => gst::State::Ready,
        "paused" => gst::State::Paused,
        "playing" => gst::State::Playing,
        _ => panic!("{name:?} is not a state"),
    }
}

/// Sets the rate of a clock, `ppm` millionths faster than its internal time. The clock continues
/// from its current time, or from a later time.
fn calibrate(clock: &gst::Clock, order: &Line) {
    let ppm: i64 = order.text("ppm").parse().expect("a number");
    let ahead = gst::ClockTime::from_nseconds(order.get_number("ahead").unwrap_or(0));
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
    Line::new("changed").with("result", outcome(result))
}

/// Changes the state to PLAYING and to NULL again, `count` times without a pause.
fn cycle(pipeline: &gst::Pipeline, count: u64) -> Line {
    for _ in 0..count {
        for name in ["ready", "paused", "playing", "null"] {
            if pipeline.set_state(state(name)).is_err() {
                return Line::new("cycled").with("result", format!("failed-at-{name}"));
            }
        }
    }
    Line::new("cycled").with("result", "Success")
}

/// Changes the state along each path, at once or, with `settle`, after the previous change is
/// complete.
fn walk(element: &gst::Element, paths: &str, settle: bool) -> Line {
    for path in paths.split('+') {
        for name in path.split('.') {
            let target = state(name);
            let changed = element.set_state(target);
            let settled = settle.then(|| element.state(SETTLING));
            let is_there = settled.is_none_or(|(result, current, pending)| {
                let done =
                    matches!(result, Ok(success) if success != gst::StateChangeSuccess::Async);
                done && current == target && pending == gst::State::VoidPending
            });
            if changed.is_err() || !is_there {
                let how = outcome(changed);
                let result = format!("{how}-to-{name}-in-{path}:{settled:?}").replace(' ', "");
                return Line::new("walked").with("result", result);
            }
        }
    }
    Line::new("walked").with("result", "Success")
}

/// The statistics of an element as fields; those of client 0 are `client-0-pid` and so on.
fn stats(element: &gst::Element) -> Line {
    let figures = element.property::<gst::Structure>("stats");
    let mut line = Line::new("stats");
    for (name, value) in figures.iter() {
        if let Ok(array) = value.get::<gst::Array>() {
            line = line.with(name, array.len());
            for (number, entry) in array.iter().enumerate() {
                let entry = entry.get::<gst::Structure>().expect("a structure");
                for (field, value) in entry.iter() {
                    line = line.with(&format!("client-{number}-{field}"), told(value));
                }
            }
        } else {
            line = line.with(name, told(value));
        }
    }
    line
}

fn told(value: &gst::glib::SendValue) -> String {
    let text = value
        .transform::<String>()
        .expect("the value converts to text");
    let text = text.get::<Option<String>>().expect("a text");
    text.unwrap_or_default().replace(' ', "_")
}
