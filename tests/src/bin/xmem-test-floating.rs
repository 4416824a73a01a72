//! Changes the state of elements that are in no bin, as applications do:
//! `xmem-test-floating STORY`.
//!
//! Such an element has one reference, which its factory made and which floats; a bin takes it over.
//! An element must not change that reference. This program panics if it does.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::os::fd::IntoRawFd;

use gst::glib;
use gst::glib::translate::{ToGlibPtr, from_glib, from_glib_full};
use gst::prelude::*;
use gst_allocators::FdMemoryFlags;
use gst_allocators::prelude::*;
use gst_check::Harness;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use xmem_core::{Channel, Publisher};
use xmem_tests::{until, until_some};

/// The states of an element on its way up and down. Some changes skip states.
const PATH: [gst::State; 13] = {
    use gst::State::{Null, Paused, Playing, Ready};
    [
        Ready, Null, Ready, Paused, Ready, Paused, Playing, Paused, Ready, Null, Playing, Ready,
        Null,
    ]
};

fn main() {
    gst::init().expect("GStreamer starts");
    let story = std::env::args().nth(1).expect("a story");
    let stories: [(&str, fn()); 4] = [
        ("walks", walks),
        ("failures", failures),
        ("bins", bins),
        ("harnesses", harnesses),
    ];
    let wanted = stories
        .iter()
        .filter(|(name, _)| [*name, "all"].contains(&story.as_str()));
    let mut told = 0;
    for (name, tell) in wanted {
        tell();
        println!("{name}");
        told += 1;
    }
    assert!(told > 0, "{story:?} is not a story");
}

/// An element with only its initial, floating reference; and its bus.
struct Loose {
    element: gst::Element,
    bus: gst::Bus,
    /// The messages that were posted. A message holds a reference to its source, so messages are
    /// taken from the bus at once.
    posted: RefCell<Vec<gst::MessageType>>,
}

impl Loose {
    /// Creates an element on the channel of this name.
    fn new(factory: &str, channel: &str) -> Loose {
        let loose = Loose::without_channel(factory);
        loose.element.set_property("channel", channel);
        loose
    }

    fn without_channel(factory: &str) -> Loose {
        // SAFETY: GStreamer is initialised, and returns a new element or null. Its reference is
        // ours and keeps floating; the constructors of the bindings would sink it.
        let element: Option<gst::Element> = unsafe {
            let name = factory.to_glib_none();
            from_glib_full(gst::ffi::gst_element_factory_make(name.0, std::ptr::null()))
        };
        let element = element.unwrap_or_else(|| panic!("no {factory}"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let loose = Loose {
            element,
            bus,
            posted: RefCell::default(),
        };
        loose.is_untouched();
        loose
    }

    /// Whether the floating reference is the only one.
    fn floats(&self) -> bool {
        // SAFETY: the element is borrowed, so it is alive.
        let floating = unsafe {
            let object: *mut gst::ffi::GstElement = self.element.to_glib_none().0;
            from_glib(glib::gobject_ffi::g_object_is_floating(object.cast()))
        };
        floating && self.element.ref_count() == 1
    }

    /// Checks that the reference is untouched. Threads of the element may have references for a
    /// moment, and messages hold one as long as they exist.
    fn is_untouched(&self) {
        until("its only reference is the one that floats", || {
            self.take_messages();
            self.floats()
        });
    }

    fn take_messages(&self) {
        let messages = std::iter::from_fn(|| self.bus.pop());
        let kinds = messages.map(|message| message.type_());
        self.posted.borrow_mut().extend(kinds);
    }

    /// Changes the state of the element.
    fn change(&self, state: gst::State) -> Result<(), gst::StateChangeError> {
        self.posted.borrow_mut().clear();
        let changed = self.element.set_state(state);
        self.is_untouched();
        changed.map(|_| ())
    }

    fn walk(&self) {
        for state in PATH {
            let changed = self.change(state);
            changed.unwrap_or_else(|_| panic!("{} to {state:?}", self.element.name()));
        }
    }

    /// Changes to a state that the element cannot reach, and checks that it posts an error.
    fn fail(&self, state: gst::State) {
        self.posted.borrow_mut().clear();
        let changed = self.element.set_state(state);
        assert!(changed.is_err(), "{changed:?}");
        self.until_message(gst::MessageType::Error);
        self.is_untouched();
        self.change(gst::State::Null)
            .expect("a path to a state always exists");
    }

    fn until_message(&self, kind: gst::MessageType) {
        until(&format!("{kind:?} is posted"), || {
            self.take_messages();
            self.posted.borrow().contains(&kind)
        });
    }

    /// Gives the floating reference to a bin.
    fn put_in(self, bin: &gst::Pipeline) -> gst::Element {
        self.is_untouched();
        let element = self.element.clone();
        bin.add(&element).expect("the element is in no bin yet");
        // SAFETY: the bin has taken over the reference that `self` owned.
        std::mem::forget(self.element);
        element
    }

    /// Drops the floating reference.
    fn end(self) {
        self.change(gst::State::Null)
            .expect("a path to a state always exists");
        let weak = self.element.downgrade();
        drop(self.element);
        assert!(weak.upgrade().is_none(), "another reference is left");
    }
}

/// Takes both elements through all states, each alone.
fn walks() {
    for factory in ["xmemsrc", "xmemsink"] {
        let loose = Loose::new(factory, "alone");
        loose.walk();
        // Messages are discarded.
        loose.element.set_bus(None::<&gst::Bus>);
        loose.walk();
        loose.end();
    }
    for factory in ["xmemsrc", "xmemsink"] {
        Loose::new(factory, "alone").end();
    }
}

/// Tries states that cannot be reached, and streams that fail.
fn failures() {
    for factory in ["xmemsrc", "xmemsink"] {
        let loose = Loose::without_channel(factory);
        for state in [gst::State::Ready, gst::State::Paused, gst::State::Playing] {
            loose.fail(state);
        }
        loose.element.set_property("channel", "../no/name");
        loose.fail(gst::State::Playing);
        loose.element.set_property("channel", "failing");
        loose
            .element
            .set_property("socket-path", "/nonexistent/xmem");
        loose.fail(gst::State::Playing);
        loose.element.set_property("channel", None::<&str>);
        if factory == "xmemsink" {
            loose.fail(gst::State::Playing);
            loose.element.set_property("max-buffers", 1u32);
        }
        loose.element.set_property("socket-path", None::<&str>);
        loose.element.set_property("channel", "failing");
        if factory == "xmemsink" {
            loose.fail(gst::State::Playing);
            loose.element.set_property("max-buffers", 0u32);
        }
        loose.walk();
        loose.end();
    }
    // Without a producer.
    let loose = Loose::new("xmemsrc", "failing");
    loose
        .element
        .set_property("connection-timeout", 1_000_000u64);
    for _ in 0..3 {
        loose
            .change(gst::State::Playing)
            .expect("the change succeeds and fails later");
        loose.until_message(gst::MessageType::Error);
        loose.is_untouched();
        loose
            .change(gst::State::Null)
            .expect("a path to a state always exists");
    }
    loose.end();
    // With a producer that stops.
    let publisher = Publisher::builder(Channel::name("failing"))
        .open()
        .expect("a publisher opens");
    let loose = Loose::new("xmemsrc", "failing");
    loose.change(gst::State::Playing).expect("it connects");
    until("the element has connected", || publisher.num_clients() == 1);
    loose.is_untouched();
    publisher.close();
    loose.until_message(gst::MessageType::Error);
    loose.is_untouched();
    loose.end();
}

/// Changes the state of elements before they are added to a bin, and then uses them there.
fn bins() {
    let [sink, source] = ["xmemsink", "xmemsrc"].map(|factory| Loose::new(factory, "bins"));
    for loose in [&sink, &source] {
        loose.walk();
    }
    sink.element.set_property("wait-for-connection", true);
    sink.element.set_property_from_str("overflow", "block");
    for name in ["async", "sync"] {
        sink.element.set_property(name, false);
    }
    let [producer, client] = [(); 2].map(|()| gst::Pipeline::new());
    let make = |factory: &str| gst::ElementFactory::make(factory).build().expect(factory);
    let pictures = make("fakesrc");
    pictures.set_property("num-buffers", 10);
    pictures.set_property_from_str("sizetype", "fixed");
    producer.add(&pictures).expect("the element is new");
    let sink = sink.put_in(&producer);
    pictures.link(&sink).expect("the sink accepts all caps");
    let out = make("fakesink");
    client.add(&out).expect("the element is new");
    let source = source.put_in(&client);
    source.link(&out).expect("the sink accepts all caps");
    for pipeline in [&client, &producer] {
        let changed = pipeline.set_state(gst::State::Playing);
        changed.expect("it plays");
    }
    for pipeline in [&client, &producer] {
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
        let end = until_some("the stream has ended", || bus.pop_filtered(&kinds));
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    }
    let stats = source.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("received"), Ok(10));
    let weak = [&sink, &source].map(gst::Element::downgrade);
    for pipeline in [&client, &producer] {
        let changed = pipeline.set_state(gst::State::Null);
        changed.expect("a path to a state always exists");
    }
    drop((sink, source, client, producer));
    until("the references are gone", || {
        weak.iter().all(|weak| weak.upgrade().is_none())
    });
}

/// A buffer whose memory has a descriptor.
fn buffer() -> gst::Buffer {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("test-memfd", flags).expect("a memfd");
    ftruncate(&fd, 4096).expect("the size can be set");
    let allocator = gst_allocators::FdAllocator::new();
    // SAFETY: the call takes ownership of the descriptor, whose file has this size.
    let memory = unsafe { allocator.alloc_fd(fd.into_raw_fd(), 4096, FdMemoryFlags::NONE) };
    let mut buffer = gst::Buffer::new();
    let content = buffer.get_mut().expect("the buffer is new");
    content.append_memory(memory.expect("memory on a descriptor"));
    content.set_pts(gst::ClockTime::ZERO);
    buffer
}

fn until_event(harness: &mut Harness, kind: gst::EventType) {
    until(&format!("{kind:?} comes"), || {
        let event = harness.try_pull_event();
        event.is_some_and(|event| event.type_() == kind)
    });
}

/// Uses both elements without a bin. Their neighbours are pads that float themselves and have no
/// parent.
fn harnesses() {
    let sink = Loose::new("xmemsink", "harness");
    for name in ["async", "sync"] {
        sink.element.set_property(name, false);
    }
    let source = Loose::new("xmemsrc", "harness");
    source.element.set_property("max-leases", 2u32);
    source.element.set_property_from_str("on-starved", "wait");
    let told = glib::WeakRef::<gst::Element>::new();
    told.set(Some(&sink.element));
    for signal in ["client-connected", "client-disconnected"] {
        let told = told.clone();
        sink.element.connect(signal, false, move |values| {
            let sink = values[0].get::<gst::Element>().expect("the sink");
            assert_eq!(told.upgrade().as_ref(), Some(&sink));
            None
        });
    }
    let mut producer = Harness::with_element(&sink.element, Some("sink"), None);
    producer.set_src_caps_str("application/x-test");
    let mut client = Harness::with_element(&source.element, None, Some("src"));
    client.play();
    // Each harness has a reference too.
    let shared = |loose: &Loose| {
        until("there are two references, one of which floats", || {
            loose.take_messages();
            loose.element.ref_count() == 2
        });
    };
    let both = || [&sink, &source].map(shared);
    let has_client = || sink.element.property::<u32>("num-clients") == 1;
    until("the client has connected", has_client);
    let mut pass = || {
        producer.push(buffer()).expect("the sink accepts a buffer");
        client.pull().expect("the buffer arrives")
    };
    for _ in 0..10 {
        pass();
    }
    both();
    // The client holds as many frames as it may, and posts a warning.
    let held = [pass(), pass()];
    producer.push(buffer()).expect("the sink accepts a buffer");
    source.until_message(gst::MessageType::Warning);
    drop(held);
    client.pull().expect("the buffer arrives");
    both();
    // The producer needs the memory of its buffers back.
    let pad = sink.element.static_pad("sink").expect("a sink");
    producer.push(buffer()).expect("the sink accepts a buffer");
    assert!(pad.query(&mut gst::query::Drain::new()));
    client.pull().expect("the buffer arrives");
    producer.push(buffer()).expect("the sink accepts a buffer");
    client.pull().expect("the buffer arrives");
    both();
    // Events in both directions.
    for flush in [
        gst::event::FlushStart::new(),
        gst::event::FlushStop::new(true),
    ] {
        producer.push_event(flush);
    }
    until_event(&mut client, gst::EventType::FlushStop);
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    producer.push_event(gst::event::Segment::new(&segment));
    producer.push(buffer()).expect("the sink accepts a buffer");
    client.pull().expect("the buffer arrives");
    let structure = gst::Structure::new_empty("application/x-test");
    client.push_upstream_event(gst::event::CustomUpstream::new(structure.clone()));
    until("the event arrives at the producer", || {
        let event = producer.try_pull_upstream_event();
        event.is_some_and(|event| event.type_() == gst::EventType::CustomUpstream)
    });
    producer.push_event(gst::event::CustomDownstreamOob::new(structure));
    until_event(&mut client, gst::EventType::CustomDownstreamOob);
    client.query_latency();
    let stats = [&sink, &source].map(|loose| loose.element.property::<gst::Structure>("stats"));
    assert!(stats[0].get::<u64>("imported").is_ok_and(|count| count > 0));
    both();
    producer.push_event(gst::event::Eos::new());
    until_event(&mut client, gst::EventType::Eos);
    both();
    drop((producer, client));
    for loose in [sink, source] {
        loose.is_untouched();
        loose.end();
    }
    // A source, created as tests do. A harness expects a sink to play without a channel, so there
    // is no test of the sink.
    let mut harness = Harness::new("xmemsrc");
    let element = harness.element().expect("the element exists");
    element.set_property("channel", "harness");
    harness.play();
    drop(harness);
    until("the harness has released its reference", || {
        element.ref_count() == 1
    });
}
