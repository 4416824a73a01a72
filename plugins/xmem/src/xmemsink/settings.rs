//! The properties of `xmemsink`: their texts, defaults and values.

use std::sync::LazyLock;
use std::time::Duration;

use gst::prelude::*;

use crate::channel::ChannelSettings;
use crate::events::upstream::UpstreamEvents;
use crate::habits::{Note, SinkHabits};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) channel: ChannelSettings,
    pub(super) perms: u32,
    pub(super) max_buffers: u32,
    pub(super) max_bytes: u64,
    pub(super) max_clients: u32,
    pub(super) group_time: Duration,
    pub(super) overflow: Overflow,
    pub(super) block_timeout: Duration,
    pub(super) upstream_events: UpstreamEvents,
    pub(super) wait_for_connection: bool,
    pub(super) import_memory: bool,
    /// -1 means any.
    cuda_device_id: i32,
    pub(super) habits: SinkHabits,
}

/// The valid permissions of a file. shmsink accepts more bits, but a socket needs none of them.
const PERMISSIONS: u32 = 0o777;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            channel: ChannelSettings::default(),
            perms: 0o600,
            max_buffers: 0,
            max_bytes: 0,
            max_clients: 16,
            group_time: Duration::from_secs(2),
            overflow: Overflow::default(),
            block_timeout: Duration::from_secs(1),
            upstream_events: UpstreamEvents::default(),
            wait_for_connection: false,
            import_memory: true,
            cuda_device_id: -1,
            habits: SinkHabits::default(),
        }
    }
}

impl Settings {
    /// Returns whether the sink waits for clients, so that they receive every frame.
    pub(super) fn waits(&self) -> bool {
        self.wait_for_connection || self.overflow == Overflow::Block
    }

    pub(super) fn overflow(&self) -> xmem_core::Overflow {
        match self.overflow {
            Overflow::DropOldest => xmem_core::Overflow::DropOldest,
            Overflow::Block => xmem_core::Overflow::Block {
                timeout: self.block_timeout,
            },
        }
    }

    /// Returns the number of the CUDA device that frames are on, `None` for any.
    pub(super) fn cuda_device(&self) -> Option<u32> {
        u32::try_from(self.cuda_device_id).ok()
    }

    /// Returns the messages about values that have no effect.
    pub(super) fn notes(&self) -> Vec<Note> {
        let perms = (self.perms > PERMISSIONS).then(|| {
            Note::Warning(format!(
                "perms={} (0{:o}): of its bits only those of 0{PERMISSIONS:o} have an effect",
                self.perms, self.perms
            ))
        });
        self.habits.notes().into_iter().chain(perms).collect()
    }

    /// Sets a property. Returns false for a name that is not a setting.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked the types and ranges against the properties below.
        match name {
            "perms" => self.perms = value.get().expect("type checked upstream"),
            "max-buffers" => self.max_buffers = value.get().expect("type checked upstream"),
            "max-bytes" => self.max_bytes = value.get().expect("type checked upstream"),
            "max-clients" => self.max_clients = value.get().expect("type checked upstream"),
            "group-time" => {
                let time: u64 = value.get().expect("type checked upstream");
                self.group_time = Duration::from_nanos(time);
            }
            "overflow" => self.overflow = value.get().expect("type checked upstream"),
            "block-timeout" => {
                let timeout: u64 = value.get().expect("type checked upstream");
                self.block_timeout = Duration::from_nanos(timeout);
            }
            "upstream-events" => {
                self.upstream_events = value.get().expect("type checked upstream");
            }
            "wait-for-connection" => {
                self.wait_for_connection = value.get().expect("type checked upstream");
            }
            "import-memory" => self.import_memory = value.get().expect("type checked upstream"),
            "cuda-device-id" => self.cuda_device_id = value.get().expect("type checked upstream"),
            _ => return self.channel.set(name, value) || self.habits.set(name, value),
        }
        true
    }

    /// Returns the value of a property, `None` for a name that is not a setting.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "perms" => self.perms.to_value(),
            "max-buffers" => self.max_buffers.to_value(),
            "max-bytes" => self.max_bytes.to_value(),
            "max-clients" => self.max_clients.to_value(),
            "group-time" => u64::try_from(self.group_time.as_nanos())
                .unwrap_or(u64::MAX)
                .to_value(),
            "overflow" => self.overflow.to_value(),
            "block-timeout" => u64::try_from(self.block_timeout.as_nanos())
                .unwrap_or(u64::MAX)
                .to_value(),
            "upstream-events" => self.upstream_events.to_value(),
            "wait-for-connection" => self.wait_for_connection.to_value(),
            "import-memory" => self.import_memory.to_value(),
            "cuda-device-id" => self.cuda_device_id.to_value(),
            _ => return self.channel.get(name).or_else(|| self.habits.get(name)),
        })
    }
}

/// What the sink does when the slot that it needs holds a frame that a client has not received yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstXmemSinkOverflow")]
pub(super) enum Overflow {
    /// Reuses the slot of the oldest frame: slow clients miss frames.
    #[default]
    #[enum_value(
        name = "Reuse the slot of the oldest frame: slow clients miss frames, the sink never waits",
        nick = "drop-oldest"
    )]
    DropOldest,
    /// Waits for the client, for at most `block-timeout`.
    #[enum_value(
        name = "Wait until every in-order client has received the frame, at most block-timeout",
        nick = "block"
    )]
    Block,
}

pub(super) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let defaults = Settings::default();
    // The channel is opened from NULL to READY.
    let mut properties = Vec::from(ChannelSettings::properties(
        glib::ParamFlags::empty(),
        "; set in NULL",
    ));
    properties.extend([
        glib::ParamSpecUInt::builder("perms")
            .nick("Permissions")
            .blurb(
                "Permissions of the socket file; they decide which users can connect: 0600 (384) \
                 only this user, 0660 (432) also the group; set in NULL",
            )
            .maximum(0o7777)
            .default_value(defaults.perms)
            .build(),
        glib::ParamSpecUInt::builder("max-buffers")
            .nick("Max buffers")
            .blurb(
                "Maximum number of slots in shared memory, at least 3; a slot holds one frame. A \
                 client whose leases do not fit is refused (0 = as many as upstream and the \
                 clients need, at most 1024, within max-bytes); set in NULL",
            )
            .maximum(2048)
            .default_value(defaults.max_buffers)
            .build(),
        glib::ParamSpecUInt64::builder("max-bytes")
            .nick("Max bytes")
            .blurb(
                "Maximum size of all slots in shared memory, in bytes. Within it, each client gets \
                 as many slots as the latency of its pipeline needs; slots are released 5 seconds \
                 after the last client that needs them has left (0 = 1 GiB, or more if upstream \
                 and 5 slots for each client need more); set in NULL",
            )
            .default_value(defaults.max_bytes)
            .build(),
        glib::ParamSpecUInt::builder("max-clients")
            .nick("Max clients")
            .blurb("Maximum number of clients at once; further clients are refused; set in NULL")
            .minimum(1)
            .maximum(126)
            .default_value(defaults.max_clients)
            .build(),
        glib::ParamSpecUInt64::builder("group-time")
            .nick("Group time")
            .blurb(
                "How long to keep the frames since the last key frame, in nanoseconds. Clients \
                 that join start with that key frame and show a picture at once. Costs one slot \
                 for each frame of the longest group of pictures, and a quarter more, within \
                 max-bytes and max-buffers; each slot is as large as the largest frame. Costs \
                 nothing in streams where no frame depends on others (no DELTA_UNIT) (0 = clients \
                 start with the newest frame); set in NULL",
            )
            .default_value(defaults.group_time.as_nanos() as u64)
            .build(),
        glib::ParamSpecEnum::builder_with_default("overflow", defaults.overflow)
            .nick("Overflow")
            .blurb(
                "What to do when the next slot holds a frame that a client has not received yet; \
                 set in NULL",
            )
            .build(),
        glib::ParamSpecUInt64::builder("block-timeout")
            .nick("Block timeout")
            .blurb(
                "With overflow=block, how long to wait for a client that makes no progress \
                 (receives no frame and releases none), in nanoseconds. Then a warning is posted, \
                 and the client is treated as with drop-oldest until it has caught up \
                 (18446744073709551615 = no limit); set in NULL",
            )
            .default_value(defaults.block_timeout.as_nanos() as u64)
            .build(),
        glib::ParamSpecBoolean::builder("wait-for-connection")
            .nick("Wait for a connection")
            .blurb("Wait for a client instead of publishing frames that no client receives")
            .default_value(defaults.wait_for_connection)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("import-memory")
            .nick("Import memory")
            .blurb(
                "Share fd-backed upstream memory (dmabuf, memfd, another channel) instead of copying \
                 it. Clients may be able to write to memory that xmem did not create. Such frames \
                 are copied while a client refuses them (unsealed-memory of xmemsrc). When \
                 upstream drains, and when the sink leaves PAUSED, upstream gets its memory back \
                 after at most half a second, whatever block-timeout is; set in NULL",
            )
            .default_value(defaults.import_memory)
            .build(),
        glib::ParamSpecInt::builder("cuda-device-id")
            .nick("CUDA device ID")
            .blurb(
                "CUDA device of the frames if caps have memory:CUDAMemory, as numbered in this \
                 process. An error is posted if a buffer is on another device (-1 = the device of \
                 the first buffer); set in NULL",
            )
            .minimum(-1)
            .default_value(defaults.cuda_device_id)
            .build(),
        glib::ParamSpecFlags::builder::<UpstreamEvents>("upstream-events")
            .nick("Upstream events")
            .blurb(
                "Which events of clients to send upstream, at most 100 per second from each \
                 client. A seek or QoS event of one client affects all clients; set in NULL",
            )
            .default_value(defaults.upstream_events)
            .build(),
        glib::ParamSpecUInt::builder("num-clients")
            .nick("Number of clients")
            .blurb("Number of connected clients; each change is notified")
            .read_only()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Statistics since the channel was opened: those of GstBaseSink; frames published, \
                 zero-copy (written into slots by upstream), imported (in memory of upstream), \
                 copied, copied-for-unsealed (the part of copied that unsealed-memory of a client \
                 has caused), copied-device (copied by their CUDA device) and dropped; copied-bytes, \
                 copied-device-bytes; gpu-pending (frames and events that wait until the device has \
                 written frames); storage (memory of the frames, as in caps), device (UUID of its CUDA \
                 device); refused-metas (metas that no client could \
                 read); slots, slot-size and memory in bytes; clients, an array with id, name, \
                 pid, uid, delivery, leases, backlog, held, lag, missed, lagging and takes-unsealed \
                 of each client",
            )
            .read_only()
            .build(),
    ]);
    properties.extend(SinkHabits::properties());
    properties
});
