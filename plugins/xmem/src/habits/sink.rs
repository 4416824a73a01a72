//! Properties of shmsink, unixfdsink and cudaipcsink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

use super::note::Note;
use super::shared::SocketType;

/// How cudaipcsink shares memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstXmemSinkIpcMode")]
pub(crate) enum IpcMode {
    /// Passes handles of the CUDA driver.
    #[default]
    #[enum_value(name = "Legacy IPC mode", nick = "legacy")]
    Legacy = 0,
    /// Passes file descriptors.
    #[enum_value(name = "Memory map", nick = "mmap")]
    Mmap = 1,
}

/// The values of the properties.
#[derive(Clone, Debug)]
pub(crate) struct SinkHabits {
    /// `None` until it is set.
    shm_size: Option<u32>,
    /// The warning that shared memory exceeds `shm-size` was posted.
    is_exceeded: Arc<AtomicBool>,
    buffer_time: i64,
    socket_type: SocketType,
    min_memory_size: i64,
    ipc_mode: IpcMode,
}

/// The default of shmsink.
const SHM_SIZE: u32 = 64 << 20;

impl Default for SinkHabits {
    fn default() -> Self {
        SinkHabits {
            shm_size: None,
            is_exceeded: Arc::default(),
            buffer_time: -1,
            socket_type: SocketType::default(),
            min_memory_size: 0,
            ipc_mode: IpcMode::default(),
        }
    }
}

impl SinkHabits {
    /// Sets one of these properties. Returns false for any other.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked the types and ranges against the properties below.
        match name {
            "shm-size" => {
                self.shm_size = Some(value.get().expect("type checked upstream"));
                self.is_exceeded = Arc::default();
            }
            "buffer-time" => self.buffer_time = value.get().expect("type checked upstream"),
            "socket-type" => self.socket_type = value.get().expect("type checked upstream"),
            "min-memory-size" => {
                self.min_memory_size = value.get().expect("type checked upstream");
            }
            "ipc-mode" => self.ipc_mode = value.get().expect("type checked upstream"),
            _ => return false,
        }
        true
    }

    /// Returns the value of one of these properties, `None` for any other.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "shm-size" => self.shm_size.unwrap_or(SHM_SIZE).to_value(),
            "buffer-time" => self.buffer_time.to_value(),
            "socket-type" => self.socket_type.to_value(),
            "min-memory-size" => self.min_memory_size.to_value(),
            "ipc-mode" => self.ipc_mode.to_value(),
            _ => return None,
        })
    }

    /// The messages that the element posts when it starts.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let shm_size = self.shm_size.map(|size| {
            Note::Info(format!(
                "shm-size={size} has no effect: shared memory grows as frames and clients need, up \
                 to max-bytes"
            ))
        });
        let buffer_time = (self.buffer_time >= 0).then(|| {
            Note::Warning(
                "buffer-time has no effect: xmemsink does not wait for a slow client, which misses \
                 frames instead. Set overflow=block to wait, and block-timeout to limit that"
                    .into(),
            )
        });
        let min_memory_size = match self.min_memory_size {
            0 => None,
            ..0 => Some(Note::Warning(
                "min-memory-size=-1 has no effect: xmemsink copies each buffer that upstream has not \
                 written into its memory, and counts it in stats (copied)"
                    .into(),
            )),
            _ => Some(Note::Info(
                "min-memory-size has no effect: memory is reused for frames of any size"
                    .into(),
            )),
        };
        let ipc_mode = (self.ipc_mode != IpcMode::default()).then(|| {
            Note::Info(
                "ipc-mode has no effect: the CUDA device decides how its memory is shared".into(),
            )
        });
        let notes = [
            shm_size,
            buffer_time,
            self.socket_type.note(),
            min_memory_size,
            ipc_mode,
        ];
        notes.into_iter().flatten().collect()
    }

    /// Returns a warning the first time that `bytes` of shared memory exceed a `shm-size` that was
    /// set.
    pub(crate) fn size_note(&self, bytes: u64) -> Option<Note> {
        let size = self.shm_size.filter(|&size| bytes > u64::from(size))?;
        if self.is_exceeded.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Note::Warning(format!(
            "Shared memory has {bytes} bytes now, more than shm-size={size}, which does not limit \
             it; max-bytes does"
        )))
    }

    /// The properties. All can be set in NULL only.
    pub(crate) fn properties() -> Vec<glib::ParamSpec> {
        let default = SinkHabits::default();
        let when = (glib::ParamFlags::empty(), "; set in NULL");
        vec![
            glib::ParamSpecUInt::builder("shm-size")
                .nick("Size of the shared memory")
                .blurb(
                    "For pipelines written for shmsink, in bytes; has no effect, because shared \
                     memory grows as frames and clients need, up to max-bytes. A warning is posted \
                     when it exceeds this value; set in NULL",
                )
                .default_value(SHM_SIZE)
                .build(),
            glib::ParamSpecInt64::builder("buffer-time")
                .nick("Buffer time")
                .blurb(
                    "For pipelines written for shmsink, in nanoseconds; has no effect, because \
                     overflow and block-timeout define how long to wait for a client; set in NULL",
                )
                .minimum(-1)
                .default_value(default.buffer_time)
                .build(),
            SocketType::property(when),
            glib::ParamSpecInt64::builder("min-memory-size")
                .nick("Minimum memory size")
                .blurb(
                    "For pipelines written for unixfdsink, in bytes; has no effect, because slots \
                     are reused whatever their size, and buffers outside of them are always \
                     copied; set in NULL",
                )
                .minimum(-1)
                .default_value(default.min_memory_size)
                .build(),
            glib::ParamSpecEnum::builder_with_default("ipc-mode", default.ipc_mode)
                .nick("IPC mode")
                .blurb(
                    "For pipelines written for cudaipcsink; has no effect, because the CUDA device \
                     decides how its memory is shared; set in NULL",
                )
                .build(),
        ]
    }
}
