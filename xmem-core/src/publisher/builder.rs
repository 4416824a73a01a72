//! The settings of a publisher.

use std::sync::Mutex;
use std::time::Duration;

use super::{Publisher, control};
use crate::cancel::Canceller;
use crate::channel::{Channel, Listener};
use crate::error::{Error, Result, Setting};
use crate::pool::Limits;
use crate::segment::{MAX_SLOTS, MetadataSegment, Storage};
use crate::writer::{MAX_CLIENTS, Observer, Overflow, PublisherEvent, Writer};

/// Room for slots where no limit is set: at most half of it is used at once, the other half is for
/// the slots that go while larger ones come.
const DEFAULT_ROOM: u32 = 2048;

/// The settings of a [`Publisher`]: [`open`](PublisherBuilder::open) makes it.
#[must_use = "a builder does nothing until open is called"]
pub struct PublisherBuilder {
    channel: Channel,
    name: String,
    storage: Storage,
    slots: u32,
    slot_size: Option<usize>,
    perms: u32,
    max_clients: u32,
    max_slots: Option<u32>,
    max_bytes: Option<u64>,
    group: Duration,
    overflow: Overflow,
    canceller: Option<Canceller>,
    observer: Option<Observer>,
}

impl PublisherBuilder {
    /// The producer that the frames' metadata names; the process's name by default.
    pub fn producer_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Which memory the slots are in; that of the machine by default. In memory of a CUDA device a slot is
    /// the producer's until the device has written it: 4 [`slots`](PublisherBuilder::slots) let the device
    /// be two frames behind.
    ///
    /// A client can map memory of a device for writing. So a client that does not take memory which other
    /// processes may write ([`UnsealedMemory`](crate::UnsealedMemory)) is refused.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Slots that the producer itself needs: those it writes at once, and one more that is
    /// published. 2 by default. Every client adds as many as it has leases.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Bytes of a slot, at least 1. By default they are known with the first frame, or with
    /// [`Publisher::configure`]. A larger frame makes larger slots.
    pub fn slot_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.slot_size = bytes.into();
        self
    }

    /// Permissions of the socket's file, which decide which users may connect; 0o600 by default.
    pub fn perms(mut self, perms: u32) -> Self {
        self.perms = perms;
        self
    }

    /// Most clients at once, 16 by default.
    pub fn max_clients(mut self, clients: u32) -> Self {
        self.max_clients = clients;
        self
    }

    /// The largest number of slots, at least 1. By default there are as many as producer and clients need.
    /// A client whose leases don't fit is refused.
    pub fn max_slots(mut self, slots: impl Into<Option<u32>>) -> Self {
        self.max_slots = slots.into();
        self
    }

    /// The largest number of bytes of all slots, at least 1. The default is 1 GiB, and more where the
    /// producer and the leases that clients have from the start need more. Within it clients get the
    /// [`Quota`](crate::Quota) that they ask for; a client whose first leases don't fit is refused.
    pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_bytes = bytes.into();
        self
    }

    /// How long the frames since the newest sync point are kept for clients that join, which can make
    /// nothing of [dependent](crate::Role::Dependent) frames without these; not at all by default. They
    /// take slots, as far as `max_slots` and `max_bytes` allow beside the leases of clients. Where there
    /// are none, or a group has become older than that when a frame is published, clients begin with the
    /// newest frame.
    pub fn keep_group(mut self, time: Duration) -> Self {
        self.group = time;
        self
    }

    /// What happens when a client does not keep up.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Ends the waits of opening the channel and of the publisher.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.canceller = Some(canceller);
        self
    }

    /// Is told what happens, from whatever thread it happens on and with no lock held. It must
    /// not block. Should it panic, the channel ends with [`Error::Failed`], for clients with
    /// [`Error::Disconnected`], and it is called no more.
    pub fn on_event(mut self, observer: impl Fn(PublisherEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Opens the channel: makes its memory and its socket, and starts to take clients.
    ///
    /// # Errors
    /// [`Error::InUse`] when another live producer has the channel, [`Error::BadPath`] where its
    /// socket can't be, [`Error::ResourceExhausted`] without memory, descriptors or room for the
    /// socket, [`Error::Cancelled`], [`Error::InvalidSetting`].
    pub fn open(self) -> Result<Publisher> {
        let at_least_one = 1..=u64::MAX;
        let (max_slots, max_clients) = (self.max_slots, self.max_clients.into());
        Error::check_setting(Setting::MaxClients, max_clients, 1..=MAX_CLIENTS.into())?;
        Error::check_setting(Setting::Slots, self.slots.into(), at_least_one.clone())?;
        if let Some(max) = max_slots {
            Error::check_setting(Setting::MaxSlots, max.into(), 1..=(MAX_SLOTS / 2).into())?;
        }
        if let Some(size) = self.slot_size {
            Error::check_setting(Setting::SlotSize, size as u64, at_least_one.clone())?;
        }
        if let Some(max) = self.max_bytes {
            Error::check_setting(Setting::MaxBytes, max, at_least_one)?;
        }
        let room = max_slots.map_or(DEFAULT_ROOM, |max| (4 * max).min(MAX_SLOTS));
        let canceller = match self.canceller {
            Some(canceller) => canceller,
            None => Canceller::new(),
        };
        let limits = Limits {
            need: self.slots,
            max_slots: max_slots.unwrap_or(0),
            max_bytes: self.max_bytes.unwrap_or(0),
            group: self.group,
        };
        let listener = Listener::new(&self.channel, self.perms, &canceller.begin()?)?;
        let path = listener.path().to_owned();
        let (metadata, metadata_fd) = MetadataSegment::create(room)?;
        let writer = Writer::new(
            metadata,
            self.storage,
            limits,
            self.overflow,
            self.name,
            self.observer,
        )?;
        if let Some(size) = self.slot_size {
            writer.configure(size, 0)?;
        }
        let control =
            control::Control::new(writer.clone(), listener, metadata_fd, self.max_clients)?;
        let thread = std::thread::Builder::new()
            .name("xmem-control".into())
            .spawn(move || control.run())
            .map_err(Error::thread)?;
        Ok(Publisher {
            writer,
            canceller,
            path,
            thread: Mutex::new(Some(thread)),
        })
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<PublisherBuilder>();
};

impl Publisher {
    /// Settings for a publisher on a channel.
    pub fn builder(channel: Channel) -> PublisherBuilder {
        PublisherBuilder {
            channel,
            name: process_name(),
            storage: Storage::Cpu,
            slots: 2,
            slot_size: None,
            perms: 0o600,
            max_clients: 16,
            max_slots: None,
            max_bytes: None,
            group: Duration::ZERO,
            overflow: Overflow::default(),
            canceller: None,
            observer: None,
        }
    }
}

fn process_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}
