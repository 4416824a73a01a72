//! An application that lists devices: `xmem-test-devices [CLASSES]`.
//!
//! It starts a `GstDeviceMonitor`, and reports each device of xmem that is added, changed or
//! removed.

use std::sync::Mutex;

use gst::prelude::*;
use xmem_tests::devices::DevicesOrder;
use xmem_tests::order::{self, Order};
use xmem_tests::{Line, PATIENCE, pipeline, until, wait};

static OUTPUT: Mutex<()> = Mutex::new(());

fn say(line: Line) {
    let _alone = OUTPUT.lock().expect("no thread panics");
    println!("{line}");
}

fn main() {
    gst::init().expect("GStreamer starts");
    let monitor = gst::DeviceMonitor::new();
    let classes = std::env::args().nth(1);
    let filter = monitor.add_filter(classes.as_deref(), None);
    assert!(filter.is_some(), "no provider of {classes:?}");
    let bus = monitor.bus();
    std::thread::spawn(move || {
        for message in bus.iter_timed(gst::ClockTime::NONE) {
            match message.view() {
                gst::MessageView::DeviceAdded(added) => tell("added", &added.device()),
                gst::MessageView::DeviceRemoved(removed) => tell("removed", &removed.device()),
                gst::MessageView::DeviceChanged(changed) => {
                    tell("changed", &changed.device_changed().0);
                }
                _ => {}
            }
        }
    });
    monitor.start().expect("it starts");
    for order in order::received() {
        let mut answer = match &order {
            DevicesOrder::List => {
                let devices = monitor.devices();
                let channels = devices.iter().filter(|device| of_xmem(device).is_some());
                channels.for_each(|device| tell("device", device));
                Line::default()
            }
            DevicesOrder::Play { channel, count } => {
                let element = device(&monitor, channel).create_element(Some("src"));
                play(element.expect("an element"), *count)
            }
            DevicesOrder::Move { from, to } => {
                let element = device(&monitor, from).create_element(None);
                let element = element.expect("an element");
                let to = device(&monitor, to);
                to.reconfigure_element(&element).expect("it is in NULL");
                let channel: String = element.property("channel");
                let fakesink = gst::ElementFactory::make("fakesink").build();
                let refused = to.reconfigure_element(&fakesink.expect("a sink")).is_err();
                Line::default()
                    .with("to", channel)
                    .with("others-are-refused", refused)
            }
            DevicesOrder::Stop => {
                monitor.stop();
                let left = || {
                    let threads = pipeline::threads(std::process::id());
                    let left = threads.iter().filter(|name| *name == "xmem-devices");
                    left.count()
                };
                // The kernel lists a thread for a moment after its end was reported.
                wait::comes_true(|| left() == 0);
                Line::default().with("threads", left())
            }
        };
        answer.word = order.answer().into();
        say(answer);
    }
}

/// The properties of a device, if it is a device of xmem.
fn of_xmem(device: &gst::Device) -> Option<gst::Structure> {
    let properties = device.properties()?;
    (properties.get("device.api") == Ok("xmem")).then_some(properties)
}

fn device(monitor: &gst::DeviceMonitor, channel: &str) -> gst::Device {
    let devices = monitor.devices();
    let is_it = |device: &&gst::Device| {
        of_xmem(device).is_some_and(|properties| properties.get("channel") == Ok(channel))
    };
    devices.iter().find(is_it).expect("a device").clone()
}

fn tell(word: &str, device: &gst::Device) {
    let Some(properties) = of_xmem(device) else {
        return;
    };
    let text = |name| properties.get::<String>(name).expect("the property is set");
    let pid: u32 = properties.get("producer-pid").expect("the property is set");
    let caps = device.caps().map_or("none".into(), |caps| caps.to_string());
    let line = Line::new(word)
        .with("channel", text("channel"))
        .with("path", text("socket-path"))
        .with("pid", pid)
        .with("class", device.device_class())
        .with("name", device.display_name().replace(' ', "_"))
        .with("text", caps);
    say(line);
}

/// Plays an element until `count` buffers have arrived.
fn play(element: gst::Element, count: u64) -> Line {
    let name = element.name();
    let pipeline = gst::Pipeline::new();
    let sink = gst::ElementFactory::make("fakesink")
        .build()
        .expect("a sink");
    pipeline
        .add_many([&element, &sink])
        .expect("the elements are new");
    element.link(&sink).expect("the sink accepts all caps");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    until("the buffers arrive", || {
        let stats: gst::Structure = sink.property("stats");
        stats.get::<u64>("rendered").expect("a number") >= count
    });
    let patience = gst::ClockTime::try_from(PATIENCE).expect("a short time");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let _ = pipeline.state(patience);
    Line::default().with("element", name)
}
