//! Pipelines in the process of the test, for what lines of text cannot express: buffers and caps of
//! any kind.
//!
//! The plugin is the one that the test program is linked with.

use std::sync::Once;

use gst::glib;
use gst::prelude::*;

use crate::place::Place;
use crate::wait::PATIENCE;

/// A pipeline in the process of the test. Dropping it changes its state to NULL.
#[derive(Debug)]
pub struct Local {
    pipeline: gst::Pipeline,
}

/// An `appsrc` with the name `src` before a sink with the name `sink`. The sink loses nothing and
/// waits for a client.
pub fn pushing(place: &Place) -> Local {
    let sink = sink(
        place,
        "sync=false async=false wait-for-connection=true overflow=block block-timeout=20000000000",
    );
    Local::play(&format!("appsrc name=src format=time ! {sink}"))
}

/// A source with the name `src` before an `appsink` with the name `out`, for [`Local::pull`].
pub fn pulling(place: &Place) -> Local {
    let source = source(place, "max-leases=16");
    Local::play(&format!(
        "{source} ! appsink name=out sync=false async=false enable-last-sample=false"
    ))
}

/// The description of an `xmemsink` with the name `sink`, on the channel `cam0`.
pub fn sink(place: &Place, properties: &str) -> String {
    let socket = place.socket("cam0");
    format!(
        "xmemsink name=sink socket-path={} {properties}",
        socket.display()
    )
}

/// The description of an `xmemsrc` with the name `src`, on the channel `cam0`.
pub fn source(place: &Place, properties: &str) -> String {
    let socket = place.socket("cam0");
    format!(
        "xmemsrc name=src socket-path={} {properties}",
        socket.display()
    )
}

/// Initialises GStreamer and registers the plugin. From then on a GLib critical ends the process.
pub fn init() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL);
        gst::init().expect("GStreamer starts");
        gstxmem::plugin_register_static().expect("the plugin registers");
    });
}

impl Local {
    /// Creates a pipeline in NULL.
    pub fn new(description: &str) -> Local {
        init();
        let pipeline = gst::parse::launch(description)
            .unwrap_or_else(|error| panic!("{description:?}: {error}"))
            .downcast::<gst::Pipeline>()
            .expect("more than one element");
        Local { pipeline }
    }

    /// Creates a pipeline in PLAYING, or on its way there until it has prerolled.
    pub fn play(description: &str) -> Local {
        let local = Local::new(description);
        local.change(gst::State::Playing);
        local
    }

    /// Changes the state.
    ///
    /// # Panics
    /// If that fails.
    pub fn change(&self, state: gst::State) -> gst::StateChangeSuccess {
        match self.pipeline.set_state(state) {
            Ok(success) => success,
            Err(_) => panic!("to {state:?}: {:?}", self.messages()),
        }
    }

    /// Waits until the state change is complete.
    ///
    /// # Panics
    /// If it does not complete, or fails.
    pub fn settle(&self, state: gst::State) {
        let patience = gst::ClockTime::try_from(PATIENCE).expect("a short time");
        let (result, current, _) = self.pipeline.state(patience);
        let done = matches!(
            result,
            Ok(gst::StateChangeSuccess::Success | gst::StateChangeSuccess::NoPreroll)
        );
        assert!(
            done && current == state,
            "{result:?}, {current:?}: {:?}",
            self.messages()
        );
    }

    /// An element of the pipeline.
    ///
    /// # Panics
    /// If none has this name.
    pub fn element(&self, name: &str) -> gst::Element {
        let element = self.pipeline.by_name(name);
        element.unwrap_or_else(|| panic!("no element {name:?}"))
    }

    /// Sets the caps of what the element `src` pushes next.
    pub fn set_caps(&self, caps: &gst::Caps) {
        self.element("src").set_property("caps", caps);
    }

    /// Pushes a buffer from the element `src`.
    ///
    /// # Panics
    /// If the pipeline refuses it.
    pub fn push(&self, buffer: &gst::Buffer) {
        let flow: gst::FlowReturn = self.element("src").emit_by_name("push-buffer", &[buffer]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }

    /// Pushes a buffer list from the element `src`.
    ///
    /// # Panics
    /// If the pipeline refuses it.
    pub fn push_list(&self, list: &gst::BufferList) {
        let source = self.element("src");
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer-list", &[list]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }

    /// Sends EOS from the element `src`.
    pub fn end(&self) {
        let _: gst::FlowReturn = self.element("src").emit_by_name("end-of-stream", &[]);
    }

    /// The next buffer of the `appsink` `out`, with its caps; `None` at EOS.
    ///
    /// # Panics
    /// If none arrives.
    pub fn pull(&self) -> Option<gst::Sample> {
        let out = self.element("out");
        let patience = PATIENCE.as_nanos() as u64;
        let sample: Option<gst::Sample> = out.emit_by_name("try-pull-sample", &[&patience]);
        let ended = || out.property::<bool>("eos");
        assert!(
            sample.is_some() || ended(),
            "no buffer arrived: {:?}",
            self.messages()
        );
        sample
    }

    /// The next buffer of the `appsink` `out`.
    ///
    /// # Panics
    /// If none arrives, or at EOS.
    pub fn pull_buffer(&self) -> gst::Buffer {
        let sample = self.pull().expect("the stream continues");
        sample.buffer_owned().expect("a sample has a buffer")
    }

    /// The statistics of an element.
    pub fn stats(&self, element: &str) -> gst::Structure {
        self.element(element).property("stats")
    }

    /// Waits for a message of one of these types.
    ///
    /// # Panics
    /// If none arrives.
    pub fn message(&self, kinds: &[gst::MessageType]) -> gst::Message {
        let patience = gst::ClockTime::try_from(PATIENCE).expect("a short time");
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let message = bus.timed_pop_filtered(patience, kinds);
        message.unwrap_or_else(|| panic!("no {kinds:?} came"))
    }

    /// Waits for an error message, and returns its text.
    ///
    /// # Panics
    /// If none arrives.
    pub fn error(&self) -> String {
        let message = self.message(&[gst::MessageType::Error]);
        match message.view() {
            gst::MessageView::Error(error) => error.error().message().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The errors and warnings on the bus that were not read before.
    pub fn messages(&self) -> Vec<String> {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
        let messages = std::iter::from_fn(|| bus.pop_filtered(&kinds));
        messages
            .filter_map(|message| Some(message.structure()?.to_string()))
            .collect()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A pipeline that has failed must change to NULL too.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The bytes of a buffer, from all its memories.
pub fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(buffer.size());
    for memory in buffer.iter_memories() {
        let map = memory.map_readable().expect("memory can be read");
        bytes.extend_from_slice(&map);
    }
    bytes
}

/// The sizes of the memories of a buffer.
pub fn sizes(buffer: &gst::BufferRef) -> Vec<usize> {
    let memories = buffer.iter_memories();
    memories.map(|memory| memory.size()).collect()
}

/// Compares a sent and a received buffer: bytes, flags, duration and offsets. Times differ between
/// pipelines, and the first buffer has the DISCONT flag.
///
/// # Panics
/// If they differ.
pub fn assert_same(sent: &gst::BufferRef, received: &gst::BufferRef) {
    assert_eq!(received.size(), sent.size());
    assert!(bytes(received) == bytes(sent), "the bytes differ");
    let flags = |buffer: &gst::BufferRef| {
        buffer.flags() - gst::BufferFlags::TAG_MEMORY - gst::BufferFlags::DISCONT
    };
    assert_eq!(flags(received), flags(sent));
    assert_eq!(received.duration(), sent.duration());
    assert_eq!(received.offset(), sent.offset());
    assert_eq!(received.offset_end(), sent.offset_end());
}
