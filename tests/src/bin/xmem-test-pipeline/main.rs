//! A pipeline that tests control: `xmem-test-pipeline [--report ELEMENT.PAD | --inspect ELEMENT.PAD
//! | --count ELEMENT.PAD]... DESCRIPTION`
//!
//! `--report` reports every buffer that passes the pad, with a digest of its content. `--inspect`
//! also reports all other properties of the buffer, and tries to write to it. `--count` reads every
//! buffer without a report, `--mark` attaches regions of interest to it before that, and `--sample`
//! reports some of the buffers. `--report-bytes` and `--inspect-bytes` read all bytes of a buffer; the
//! others read the visible picture of raw video. `--copy` counts the buffers, and has the device copy each
//! on a stream that no element knows.
//!
//! It answers each order with a line that has the number of the order. Lines about buffers, events,
//! messages, signals and notifications can come at any time. The process ends when its input ends.

mod cuda;
mod digest;
mod events;
mod fdpool;
mod orders;
mod push;
mod soundcard;
mod watch;

use gst::prelude::*;
use xmem_tests::{Line, order};

fn main() {
    gst::init().expect("GStreamer starts");
    soundcard::register();
    let mut arguments = std::env::args().skip(1);
    let mut watches = Vec::new();
    let description = loop {
        match arguments.next().expect("a description of a pipeline") {
            option if option.starts_with("--") => {
                let pad = arguments.next().expect("an element and its pad");
                watches.push((option, pad));
            }
            description => break description,
        }
    };
    let pipeline = match gst::parse::launch(&description) {
        Ok(element) => element
            .downcast::<gst::Pipeline>()
            .expect("more than one element"),
        Err(error) => {
            println!("{}", Line::new("invalid").with("text", error));
            return;
        }
    };
    let watches = watches
        .iter()
        .map(|(option, pad)| watch::start(&pipeline, option, pad))
        .collect::<Vec<_>>();
    report_clients(&pipeline);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let weak = pipeline.downgrade();
    std::thread::Builder::new()
        .name("bus".into())
        .spawn(move || {
            let messages = bus.iter_timed(gst::ClockTime::NONE);
            for message in messages {
                if let gst::MessageView::Latency(_) = message.view()
                    && let Some(pipeline) = weak.upgrade()
                {
                    // Every application does this.
                    let _ = pipeline.recalculate_latency();
                }
                told(&message).into_iter().for_each(say);
            }
        })
        .expect("a thread starts");
    say(Line::new("ready"));
    for (number, order) in order::received().enumerate() {
        let answer = orders::obey(&pipeline, &watches, &order);
        say(answer.with("order", number));
    }
    pipeline
        .set_state(gst::State::Null)
        .expect("a change to NULL always succeeds");
}

fn say(line: Line) {
    println!("{line}");
}

/// Reports every client that connects to or leaves a sink of the pipeline.
fn report_clients(pipeline: &gst::Pipeline) {
    for sink in pipeline.iterate_all_by_element_factory_name("xmemsink") {
        let Ok(sink) = sink else { continue };
        for signal in ["client-connected", "client-disconnected"] {
            sink.connect(signal, false, move |values| {
                let from = values[0].get::<gst::Element>().expect("the sink");
                let client = values[1].get::<i32>().expect("a client's number");
                let line = Line::new("signal").with("name", signal);
                say(line.with("from", from.name()).with("client", client));
                None
            });
        }
        sink.connect_notify(Some("num-clients"), |sink, _| {
            let clients = sink.property::<u32>("num-clients");
            let line = Line::new("notify").with("property", "num-clients");
            say(line.with("from", sink.name()).with("value", clients));
        });
    }
}

/// The content of a message, for the messages that tests need.
fn told(message: &gst::Message) -> Option<Line> {
    let from = message.src().map(|src| src.name());
    let line = Line::new("message").with("from", from.as_deref().unwrap_or("unknown"));
    let problem = |line: Line, word: &str, error: gst::glib::Error, debug: Option<&str>| {
        let debug = debug.unwrap_or_default().replace(char::is_whitespace, "_");
        line.with("type", word)
            .with("kind", kind(&error))
            .with("debug", debug)
            .with("text", error.message())
    };
    match message.view() {
        gst::MessageView::Eos(_) => Some(line.with("type", "eos")),
        gst::MessageView::Latency(_) => Some(line.with("type", "latency")),
        gst::MessageView::Application(_) => Some(line.with("type", "application")),
        gst::MessageView::Error(error) => {
            let debug = error.debug();
            Some(problem(line, "error", error.error(), debug.as_deref()))
        }
        gst::MessageView::Info(info) => {
            let debug = info.debug();
            Some(problem(line, "info", info.error(), debug.as_deref()))
        }
        gst::MessageView::Warning(warning) => {
            let debug = warning.debug();
            Some(problem(line, "warning", warning.error(), debug.as_deref()))
        }
        _ => None,
    }
}

/// The name of an error's code: `Resource.Busy`, for example.
fn kind(error: &gst::glib::Error) -> String {
    if let Some(kind) = error.kind::<gst::ResourceError>() {
        format!("Resource.{kind:?}")
    } else if let Some(kind) = error.kind::<gst::CoreError>() {
        format!("Core.{kind:?}")
    } else if let Some(kind) = error.kind::<gst::StreamError>() {
        format!("Stream.{kind:?}")
    } else {
        error.domain().as_str().to_string()
    }
}
