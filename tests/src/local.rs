//! Pipelines in the test's own process: for what lines of text can't tell, buffers and caps of any
//! kind.
//!
//! The plugin is the one that this program is linked with.

use std::sync::Once;

use gst::glib;
use gst::prelude::*;

use crate::place::Place;
use crate::wait::PATIENCE;

/// A pipeline of the test's own process. It goes to NULL with its drop.
#[derive(Debug)]
pub struct Local {
    pipeline: gst::Pipeline,
}

/// An `appsrc` named `src` before a sink named `sink` that loses nothing and waits for a client.
pub fn pushing(place: &Place) -> Local {
    let sink = sink(
        place,
        "sync=false async=false wait-for-connection=true overflow=block \
         block-timeout=20000000000",
    );
    Local::play(&format!("appsrc name=src format=time ! {sink}"))
}

/// A source named `src` before an `appsink` named `out`, for [`Local::pull`].
pub fn pulling(place: &Place) -> Local {
    let source = source(place, "max-leases=16");
    Local::play(&format!(
        "{source} ! appsink name=out sync=false async=false enable-last-sample=false"
    ))
}

/// `xmemsink`, named `sink`, of the channel `cam0`.
pub fn sink(place: &Place, properties: &str) -> String {
    let socket = place.socket("cam0");
    format!(
        "xmemsink name=sink socket-path={} {properties}",
        socket.display()
    )
}

/// `xmemsrc`, named `src`, of the channel `cam0`.
pub fn source(place: &Place, properties: &str) -> String {
    let socket = place.socket("cam0");
    format!(
        "xmemsrc name=src socket-path={} {properties}",
        socket.display()
    )
}

/// Starts GStreamer, with the plugin. From then on a critical of GLib's ends the process.
pub fn init() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL);
        gst::init().expect("GStreamer starts");
        gstxmem::plugin_register_static().expect("the plugin registers");
    });
}

impl Local {
    /// A pipeline in NULL.
    pub fn new(description: &str) -> Local {
        init();
        let pipeline = gst::parse::launch(description)
            .unwrap_or_else(|error| panic!("{description:?}: {error}"))
            .downcast::<gst::Pipeline>()
            .expect("more than one element");
        Local { pipeline }
    }

    /// A pipeline that plays, or will as soon as it has something to play.
    pub fn play(description: &str) -> Local {
        let local = Local::new(description);
        local.change(gst::State::Playing);
        local
    }

    /// Changes its state.
    ///
    /// # Panics
    /// When that fails.
    pub fn change(&self, state: gst::State) -> gst::StateChangeSuccess {
        match self.pipeline.set_state(state) {
            Ok(success) => success,
            Err(_) => panic!("to {state:?}: {:?}", self.messages()),
        }
    }

    /// Waits until the change of its state is complete.
    ///
    /// # Panics
    /// When it is not, or has failed.
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

    /// One of its elements.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn element(&self, name: &str) -> gst::Element {
        let element = self.pipeline.by_name(name);
        element.unwrap_or_else(|| panic!("no element {name:?}"))
    }

    /// Has the element `src` push what comes next with these caps.
    pub fn set_caps(&self, caps: &gst::Caps) {
        self.element("src").set_property("caps", caps);
    }

    /// Has the element `src` push a buffer.
    ///
    /// # Panics
    /// When it refuses.
    pub fn push(&self, buffer: &gst::Buffer) {
        let flow: gst::FlowReturn = self.element("src").emit_by_name("push-buffer", &[buffer]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }

    /// Has the element `src` push a list.
    ///
    /// # Panics
    /// When it refuses.
    pub fn push_list(&self, list: &gst::BufferList) {
        let source = self.element("src");
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer-list", &[list]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }

    /// Has the element `src` end its stream.
    pub fn end(&self) {
        let _: gst::FlowReturn = self.element("src").emit_by_name("end-of-stream", &[]);
    }

    /// The next buffer of the `appsink` `out`, with its caps; `None` at the end of the stream.
    ///
    /// # Panics
    /// When none comes.
    pub fn pull(&self) -> Option<gst::Sample> {
        let out = self.element("out");
        let patience = PATIENCE.as_nanos() as u64;
        let sample: Option<gst::Sample> = out.emit_by_name("try-pull-sample", &[&patience]);
        let ended = || out.property::<bool>("eos");
        assert!(
            sample.is_some() || ended(),
            "no buffer came: {:?}",
            self.messages()
        );
        sample
    }

    /// The next buffer of the `appsink` `out`.
    ///
    /// # Panics
    /// When none comes, and when the stream has ended.
    pub fn pull_buffer(&self) -> gst::Buffer {
        let sample = self.pull().expect("the stream goes on");
        sample.buffer_owned().expect("a sample has a buffer")
    }

    /// The figures of one of its elements.
    pub fn stats(&self, element: &str) -> gst::Structure {
        self.element(element).property("stats")
    }

    /// Waits for a message of one of these types.
    ///
    /// # Panics
    /// When none comes.
    pub fn message(&self, kinds: &[gst::MessageType]) -> gst::Message {
        let patience = gst::ClockTime::try_from(PATIENCE).expect("a short time");
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let message = bus.timed_pop_filtered(patience, kinds);
        message.unwrap_or_else(|| panic!("no {kinds:?} came"))
    }

    /// Waits for an error, and tells its text.
    ///
    /// # Panics
    /// When none comes.
    pub fn error(&self) -> String {
        let message = self.message(&[gst::MessageType::Error]);
        match message.view() {
            gst::MessageView::Error(error) => error.error().message().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The errors and warnings that were posted and not looked at.
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
        // A pipeline that failed has to go as well.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The bytes of a buffer, whatever memories they are in.
pub fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(buffer.size());
    for memory in buffer.iter_memories() {
        let map = memory.map_readable().expect("memory can be read");
        bytes.extend_from_slice(&map);
    }
    bytes
}

/// The sizes of a buffer's memories.
pub fn sizes(buffer: &gst::BufferRef) -> Vec<usize> {
    let memories = buffer.iter_memories();
    memories.map(|memory| memory.size()).collect()
}

/// Compares what was sent with what has come: bytes, flags, duration and offsets. Times are another
/// pipeline's, and the first buffer is discontinuous.
///
/// # Panics
/// Where they differ.
pub fn assert_same(sent: &gst::BufferRef, received: &gst::BufferRef) {
    assert_eq!(received.size(), sent.size());
    assert!(bytes(received) == bytes(sent), "the bytes are others");
    let flags = |buffer: &gst::BufferRef| {
        buffer.flags() - gst::BufferFlags::TAG_MEMORY - gst::BufferFlags::DISCONT
    };
    assert_eq!(flags(received), flags(sent));
    assert_eq!(received.duration(), sent.duration());
    assert_eq!(received.offset(), sent.offset());
    assert_eq!(received.offset_end(), sent.offset_end());
}
