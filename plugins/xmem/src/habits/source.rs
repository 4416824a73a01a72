//! Properties of shmsrc, unixfdsrc and cudaipcsrc.

use gst::prelude::*;

use super::note::Note;
use super::shared::SocketType;

/// How cudaipcsrc receives memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstXmemSrcIoMode")]
pub(crate) enum IoMode {
    /// It copies the memory.
    #[default]
    #[enum_value(name = "Copy remote memory", nick = "copy")]
    Copy = 0,
    /// It imports the memory.
    #[enum_value(name = "Import remote memory", nick = "import")]
    Import = 1,
}

/// The values of the properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceHabits {
    is_live: bool,
    socket_type: SocketType,
    io_mode: IoMode,
    processing_deadline: u64,
    buffer_size: u32,
}

impl Default for SourceHabits {
    fn default() -> Self {
        SourceHabits {
            is_live: true,
            socket_type: SocketType::default(),
            io_mode: IoMode::default(),
            processing_deadline: 20_000_000,
            buffer_size: 3,
        }
    }
}

impl SourceHabits {
    /// Sets one of these properties. Returns false for any other.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked the types and ranges against the properties below.
        match name {
            "is-live" => self.is_live = value.get().expect("type checked upstream"),
            "socket-type" => self.socket_type = value.get().expect("type checked upstream"),
            "io-mode" => self.io_mode = value.get().expect("type checked upstream"),
            "processing-deadline" => {
                self.processing_deadline = value.get().expect("type checked upstream");
            }
            "buffer-size" => self.buffer_size = value.get().expect("type checked upstream"),
            _ => return false,
        }
        true
    }

    /// Returns the value of one of these properties, `None` for any other.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            // Always true, whatever was set: other elements read it.
            "is-live" => true.to_value(),
            "shm-area-name" => None::<String>.to_value(),
            "socket-type" => self.socket_type.to_value(),
            "io-mode" => self.io_mode.to_value(),
            "processing-deadline" => self.processing_deadline.to_value(),
            "buffer-size" => self.buffer_size.to_value(),
            _ => return None,
        })
    }

    /// The messages that the element posts when it starts.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let default = SourceHabits::default();
        let is_live = (!self.is_live).then(|| {
            Note::Warning(
                "is-live=false has no effect: xmemsrc is always live, because frames arrive when the \
                 producer publishes them. Its pipeline does not preroll: a change to PAUSED returns \
                 NO_PREROLL, and the first frame arrives in PLAYING"
                    .into(),
            )
        });
        let io_mode = (self.io_mode != default.io_mode).then(|| {
            Note::Info("io-mode has no effect: xmemsrc never copies a frame to receive it".into())
        });
        let deadline = (self.processing_deadline != default.processing_deadline).then(|| {
            Note::Warning(
                "processing-deadline has no effect, because the latency of xmemsrc is that of its \
                 producer: set it on the sinks of this pipeline"
                    .into(),
            )
        });
        let buffer_size = (self.buffer_size != default.buffer_size).then(|| {
            Note::Info(
                "buffer-size has no effect: max-leases limits how many frames downstream can hold"
                    .into(),
            )
        });
        let notes = [
            is_live,
            self.socket_type.note(),
            io_mode,
            deadline,
            buffer_size,
        ];
        notes.into_iter().flatten().collect()
    }

    /// The properties. Most can be changed in READY.
    pub(crate) fn properties() -> Vec<glib::ParamSpec> {
        let default = SourceHabits::default();
        let when = (gst::PARAM_FLAG_MUTABLE_READY, "");
        vec![
            glib::ParamSpecBoolean::builder("is-live")
                .nick("Live")
                .blurb(
                    "For pipelines written for shmsrc; always true, because frames arrive when the \
                     producer has them. false causes a warning",
                )
                .default_value(default.is_live)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("shm-area-name")
                .nick("Name of the shared memory")
                .blurb(
                    "For pipelines written for shmsrc; always null, because the shared memory has \
                     no name",
                )
                .read_only()
                .build(),
            SocketType::property(when),
            glib::ParamSpecEnum::builder_with_default("io-mode", default.io_mode)
                .nick("I/O mode")
                .blurb(
                    "For pipelines written for cudaipcsrc; has no effect, because no frame is \
                     copied",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("processing-deadline")
                .nick("Processing deadline")
                .blurb(
                    "For pipelines written for cudaipcsrc, in nanoseconds; has no effect, because \
                     the latency is the producer's: set it on the sinks downstream",
                )
                .default_value(default.processing_deadline)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("buffer-size")
                .nick("Buffer size")
                .blurb(
                    "For pipelines written for cudaipcsrc; has no effect: max-leases limits how \
                     many frames downstream can hold",
                )
                .minimum(1)
                .maximum(i32::MAX as u32)
                .default_value(default.buffer_size)
                .mutable_ready()
                .build(),
        ]
    }
}
