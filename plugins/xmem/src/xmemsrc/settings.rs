//! The properties of `xmemsrc`: their texts, defaults and values.

use std::sync::LazyLock;
use std::time::Duration;

use gst::prelude::*;

use crate::channel::ChannelSettings;
use crate::errors;
use crate::habits::{Note, SourceHabits};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) channel: ChannelSettings,
    /// In nanoseconds; the maximum value means no limit.
    connection_timeout: u64,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) delivery: Delivery,
    /// 0 means as many as downstream holds.
    pub(super) max_leases: u32,
    pub(super) on_starved: OnStarved,
    pub(super) copy_below: u32,
    pub(super) fd_memory: bool,
    pub(super) unsealed_memory: UnsealedMemory,
    pub(super) wait_for_keyframe: bool,
    pub(super) request_keyframe: bool,
    /// -1 means any.
    cuda_device_id: i32,
    pub(super) habits: SourceHabits,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            channel: ChannelSettings::default(),
            connection_timeout: 5_000_000_000,
            on_disconnect: OnDisconnect::default(),
            delivery: Delivery::default(),
            max_leases: 0,
            on_starved: OnStarved::default(),
            copy_below: 4096,
            fd_memory: true,
            unsealed_memory: UnsealedMemory::default(),
            wait_for_keyframe: true,
            request_keyframe: true,
            cuda_device_id: -1,
            habits: SourceHabits::default(),
        }
    }
}

impl Settings {
    /// Returns the timeout, `None` for no limit.
    pub(super) fn connection_timeout(&self) -> Option<Duration> {
        (self.connection_timeout != u64::MAX).then(|| Duration::from_nanos(self.connection_timeout))
    }

    /// Returns the number of the CUDA device whose frames are taken, `None` for any.
    pub(super) fn cuda_device(&self) -> Option<u32> {
        u32::try_from(self.cuda_device_id).ok()
    }

    /// Returns the messages about values that have no effect, or probably not the intended one.
    pub(super) fn notes(&self) -> Vec<Note> {
        let timeout = self.connection_timeout();
        let timeout = timeout.filter(|timeout| !timeout.is_zero() && *timeout < errors::SHORTEST);
        let timeout = timeout.map(|timeout| Note::Warning(errors::unit_of(timeout)));
        timeout.into_iter().chain(self.habits.notes()).collect()
    }

    /// Sets a property. Returns false for a name that is not a setting.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked the types and ranges against the properties below.
        match name {
            "connection-timeout" => {
                self.connection_timeout = value.get().expect("type checked upstream");
            }
            "on-disconnect" => self.on_disconnect = value.get().expect("type checked upstream"),
            "delivery" => self.delivery = value.get().expect("type checked upstream"),
            "max-leases" => self.max_leases = value.get().expect("type checked upstream"),
            "on-starved" => self.on_starved = value.get().expect("type checked upstream"),
            "copy-below" => self.copy_below = value.get().expect("type checked upstream"),
            "fd-memory" => self.fd_memory = value.get().expect("type checked upstream"),
            "unsealed-memory" => {
                self.unsealed_memory = value.get().expect("type checked upstream");
            }
            "wait-for-keyframe" => {
                self.wait_for_keyframe = value.get().expect("type checked upstream");
            }
            "request-keyframe" => {
                self.request_keyframe = value.get().expect("type checked upstream");
            }
            "cuda-device-id" => self.cuda_device_id = value.get().expect("type checked upstream"),
            _ => return self.channel.set(name, value) || self.habits.set(name, value),
        }
        true
    }

    /// Returns the value of a property, `None` for a name that is not a setting.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "connection-timeout" => self.connection_timeout.to_value(),
            "on-disconnect" => self.on_disconnect.to_value(),
            "delivery" => self.delivery.to_value(),
            "max-leases" => self.max_leases.to_value(),
            "on-starved" => self.on_starved.to_value(),
            "copy-below" => self.copy_below.to_value(),
            "fd-memory" => self.fd_memory.to_value(),
            "unsealed-memory" => self.unsealed_memory.to_value(),
            "wait-for-keyframe" => self.wait_for_keyframe.to_value(),
            "request-keyframe" => self.request_keyframe.to_value(),
            "cuda-device-id" => self.cuda_device_id.to_value(),
            _ => return self.channel.get(name).or_else(|| self.habits.get(name)),
        })
    }
}

/// What the source does when its producer stops or crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcOnDisconnect")]
pub(super) enum OnDisconnect {
    /// Posts an error.
    #[enum_value(name = "Post an error", nick = "error")]
    Error,
    /// Ends the stream.
    #[enum_value(name = "End the stream", nick = "eos")]
    Eos,
    /// Waits for the next producer.
    #[default]
    #[enum_value(
        name = "Wait for the next producer, at most connection-timeout",
        nick = "reconnect"
    )]
    Reconnect,
}

/// What the source does when downstream holds every frame that it may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcOnStarved")]
pub(super) enum OnStarved {
    /// Copies.
    #[default]
    #[enum_value(name = "Copy further frames", nick = "copy")]
    Copy,
    /// Waits.
    #[enum_value(name = "Wait until downstream releases a frame", nick = "wait")]
    Wait,
}

/// Which frames the source receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcDelivery")]
pub(super) enum Delivery {
    /// Every frame.
    #[default]
    #[enum_value(name = "Every frame, in order", nick = "in-order")]
    InOrder,
    /// The newest frame.
    #[enum_value(name = "The newest frame, skipping those before it", nick = "latest")]
    Latest,
}

/// From which producers the source accepts memory that other processes may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSrcUnsealedMemory")]
pub(super) enum UnsealedMemory {
    /// From producers of the same user.
    #[default]
    #[enum_value(name = "From producers of the same user", nick = "own-user")]
    OwnUser,
    /// From all producers.
    #[enum_value(name = "From all producers", nick = "always")]
    Always,
    /// From no producer.
    #[enum_value(name = "From no producer", nick = "never")]
    Never,
}

impl From<UnsealedMemory> for xmem_core::UnsealedMemory {
    fn from(setting: UnsealedMemory) -> Self {
        match setting {
            UnsealedMemory::OwnUser => Self::OwnUser,
            UnsealedMemory::Always => Self::Always,
            UnsealedMemory::Never => Self::Never,
        }
    }
}

pub(super) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let defaults = Settings::default();
    let mut properties = Vec::from(ChannelSettings::properties(
        gst::PARAM_FLAG_MUTABLE_PLAYING,
        "; if changed in PLAYING, the source switches to the other channel",
    ));
    properties.extend([
        glib::ParamSpecUInt64::builder("connection-timeout")
            .nick("Connection timeout")
            .blurb(
                "How long to wait for a producer, at the start and after each disconnect, in \
                 nanoseconds (18446744073709551615 = no limit)",
            )
            .default_value(defaults.connection_timeout)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("on-disconnect", defaults.on_disconnect)
            .nick("On disconnect")
            .blurb(
                "What to do when the producer stops or crashes without EOS. Frames that it \
                 published before are received first",
            )
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("delivery", defaults.delivery)
            .nick("Delivery")
            .blurb("Which frames to receive when downstream is slower than the producer")
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("max-leases")
            .nick("Max leases")
            .blurb(
                "Maximum number of frames that downstream can hold at once without a copy; \
                 on-starved applies to further frames. The producer keeps a slot for each of them \
                 (0 = as many as downstream holds, within max-bytes and max-buffers of xmemsink)",
            )
            .maximum(xmem_core::MAX_LEASES - 1)
            .default_value(defaults.max_leases)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("on-starved", defaults.on_starved)
            .nick("On starved")
            .blurb(
                "What to do when downstream holds max-leases frames, or as many as the producer \
                 grants: copy further frames into other memory (system memory, or memory of their \
                 CUDA device), or wait until downstream releases a frame and miss frames meanwhile",
            )
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("copy-below")
            .nick("Copy below")
            .blurb(
                "Copy frames smaller than this into system memory, in bytes. Such a copy costs no \
                 more time than a lease, and holds no slot. Frames in CUDA memory, and frames that \
                 an xmemsink downstream can share, are not copied (0 = copy no frame because of its \
                 size)",
            )
            .default_value(defaults.copy_below)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("fd-memory")
            .nick("Memory with a descriptor")
            .blurb(
                "Give downstream memory with a file descriptor (GstFdMemory) that is read-only. \
                 Disable if an element behind a tee needs a writable descriptor (waylandsink, for \
                 example). Without a tee this is detected",
            )
            .default_value(defaults.fd_memory)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("unsealed-memory", defaults.unsealed_memory)
            .nick("Unsealed memory")
            .blurb(
                "From which producers to accept dmabufs, and memfds that other processes can \
                 write. Such a process can make reads of a frame fail or wait. If a client refuses \
                 them, xmemsink copies these frames; if their caps are memory:DMABuf, it refuses \
                 the client",
            )
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("wait-for-keyframe")
            .nick("Wait for a key frame")
            .blurb(
                "After joining a stream and after missed frames, skip frames that cannot be \
                 decoded: those before the next key frame that depend on others (DELTA_UNIT). A \
                 warning is posted if no key frame comes for 5 seconds. Streams without such \
                 frames are not affected",
            )
            .default_value(defaults.wait_for_keyframe)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("request-keyframe")
            .nick("Request a key frame")
            .blurb(
                "Request a key frame (GstForceKeyUnit) from the producer when there is none to \
                 start with and after missed frames, and again every 2 seconds while frames are \
                 skipped (wait-for-keyframe). Needs force-key-unit in upstream-events of xmemsink",
            )
            .default_value(defaults.request_keyframe)
            .mutable_ready()
            .build(),
        glib::ParamSpecInt::builder("cuda-device-id")
            .nick("CUDA device ID")
            .blurb(
                "CUDA device whose frames to accept, as numbered in this process. The producer \
                 determines which device its frames are on; an error is posted if it is another one \
                 (-1 = any device)",
            )
            .minimum(-1)
            .default_value(defaults.cuda_device_id)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Statistics since the stream started: frames received, missed (overwritten before \
                 they could be received), early (due before the pipeline started, so left out), \
                 skipped (not decodable without frames that are gone), copied (small ones, and \
                 those that came while starved) and copied-device (copied by their CUDA device); \
                 starved (how often downstream held all leases); leases and backlog that the \
                 producer grants; connections made; connected (whether it is connected now); storage \
                 (memory of the last frame, as in caps), device (UUID of its CUDA device), \
                 read-only-mapping (whether that device refuses writes by this process)",
            )
            .read_only()
            .build(),
    ]);
    properties.extend(SourceHabits::properties());
    properties
});
