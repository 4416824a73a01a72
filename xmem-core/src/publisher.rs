//! Floor 4: the producer's end of a channel.

use std::any::Any;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cancel::{Cancellation, Canceller};
use crate::channel::{Channel, Listener};
use crate::clients::ClientId;
use crate::error::{Error, Result, Setting};
use crate::event::EventKind;
use crate::frame::{FrameMut, ImportedFrame};
use crate::message::Delivery;
use crate::pool::{KeepAlive, Limits};
use crate::quota::Quota;
use crate::segment::{ImportedMemory, MAX_SLOTS, MetadataSegment};
use crate::sys::pidfd;
use crate::writer::{MAX_CLIENTS, Observer, Overflow, PublisherEvent, Writer};

mod control;
mod departed;
mod linger;
mod peer;
mod shedding;
mod unread;

/// Room for slots where no limit is set: at most half of it is used at once, the other half is for
/// the slots that go while larger ones come.
const DEFAULT_ROOM: u32 = 2048;

/// The settings of a [`Publisher`]: [`open`](PublisherBuilder::open) makes it.
#[must_use = "a builder does nothing until open is called"]
pub struct PublisherBuilder {
    channel: Channel,
    name: String,
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
    /// [`Quota`] that they ask for; a client whose first leases don't fit is refused.
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
        let writer = Writer::new(metadata, limits, self.overflow, self.name, self.observer)?;
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

/// The producer's end of a channel: slots to write, and clients that receive them.
///
/// Any thread can call any method. Frames have the order in which they are published, so one thread
/// should publish them. The drop closes the channel; frames in hand stay valid.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use xmem_core::{BufferMeta, DType, EventKind, Overflow};
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let connecting = Subscriber::builder(channel.clone());
/// let publisher = Publisher::builder(channel)
///     .producer_name("camera")
///     .overflow(Overflow::Block { timeout: Duration::from_millis(100) })
///     .open()?;
/// # let subscriber = connecting.connect()?;
/// publisher.wait_for_clients(1, Some(Duration::from_secs(5)))?;
/// publisher.set_format("grey, 640 by 480")?;
/// for number in 0..3u8 {
///     let mut frame = publisher.acquire(640 * 480)?;
///     frame.payload().fill(number);
///     *frame.meta_mut() = BufferMeta::tensor(DType::UInt8, &[480, 640])?;
///     frame.publish()?;
/// }
/// publisher.send_event(EventKind::Passing, b"the light is off")?;
/// publisher.end_stream();
/// assert_eq!(publisher.stats().published, 3);
/// # Ok(())
/// # }
/// ```
pub struct Publisher {
    writer: Arc<Writer>,
    canceller: Canceller,
    path: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Publisher>();
    send_and_sync::<PublisherBuilder>();
};

impl Publisher {
    /// Settings for a publisher on a channel.
    pub fn builder(channel: Channel) -> PublisherBuilder {
        PublisherBuilder {
            channel,
            name: process_name(),
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

    /// The path of the channel's socket.
    pub fn socket_path(&self) -> &std::path::Path {
        &self.path
    }

    /// Makes room: slots have at least `slot_size` bytes from now on, and there are at least
    /// `slots` for the producer itself. Where slots become larger, the old ones go with the
    /// last lease on them.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is not enough memory.
    pub fn configure(&self, slot_size: usize, slots: u32) -> Result<()> {
        self.writer.configure(slot_size, slots)
    }

    /// Bytes of a slot, `None` until they are known.
    pub fn slot_size(&self) -> Option<usize> {
        known_size(self.writer.pool().slot_size())
    }

    /// A slot of at least `len` bytes to write the next frame into.
    ///
    /// With [`Overflow::Block`] it may wait for clients. When the producer itself holds every slot
    /// there may be, it fails at once.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::Cancelled`], [`Error::Stopped`] after `close`,
    /// [`Error::ResourceExhausted`] where there is no memory for larger or more slots.
    pub fn acquire(&self, len: usize) -> Result<FrameMut> {
        self.acquire_timeout(len, Some(Duration::ZERO), &self.canceller.begin()?)
    }

    /// As [`acquire`](Publisher::acquire), but waits for the producer's own slots to come back:
    /// at most `timeout`, without a limit with `None`. `cancel` ends the wait.
    ///
    /// # Errors
    /// As `acquire`.
    pub fn acquire_timeout(
        &self,
        len: usize,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<FrameMut> {
        let (index, place) = self.writer.acquire(len, timeout, cancel)?;
        Ok(FrameMut::new(self.writer.clone(), index, place, len))
    }

    /// A frame in imported memory, to be published as it is: `range`, in bytes, of `memory`. It takes
    /// no slot.
    ///
    /// `keep_alive` keeps those bytes from being written. It is dropped when no client can read the
    /// frame any more: when all have passed it and none holds it, and another frame is published or
    /// [reclaimed](Publisher::reclaim); and after [`close`](Publisher::close). That happens on any
    /// thread that calls a method of the publisher or is its own, and with no lock held. A panic in
    /// its drop ends the channel with [`Error::Failed`].
    ///
    /// # Errors
    /// [`Error::Exhausted`] where there are too many such frames or pieces of memory,
    /// [`Error::InvalidShape`] where the range is not inside the memory, [`Error::UnsealedMemory`]
    /// where a client does not take such memory, [`Error::Stopped`] after `close`.
    pub fn import_frame(
        &self,
        memory: &ImportedMemory,
        range: Range<usize>,
        keep_alive: impl Any + Send,
    ) -> Result<ImportedFrame> {
        let keep_alive = KeepAlive::new(keep_alive, self.writer.failure.clone());
        let len = range.len();
        let (index, place) = self.writer.import(memory, range, keep_alive)?;
        let frame = FrameMut::new(self.writer.clone(), index, place, len);
        Ok(ImportedFrame::new(frame))
    }

    /// Says whether all frames are in memory that other processes may write, and can't be copied: a
    /// format may mean memory of a device. Then clients that take none are refused, and those
    /// that there are are evicted, so that [`import_frame`](Publisher::import_frame) works for the
    /// others.
    pub fn set_unsealed_only(&self, only: bool) {
        self.writer.pool().set_unsealed_only(only);
        self.writer.event_fd.notify();
    }

    /// Gives [imported](Publisher::import_frame) memory back to its owner until `enough` says so:
    /// first the frames that every client has passed, then the oldest that no client holds. Clients
    /// that are further behind than there would be slots miss these; with [`Overflow::Block`] they
    /// are kept. False where that is not enough.
    pub fn reclaim(&self, enough: impl Fn() -> bool) -> bool {
        self.writer.reclaim(enough)
    }

    /// Whether [imported](Publisher::import_frame) memory has yet to go back to its owner.
    pub fn owes_memory(&self) -> bool {
        self.writer.owes_memory()
    }

    /// Gives all [imported](Publisher::import_frame) memory back to its owner, which wants to free
    /// it. Waits, at most `timeout`, until the clients have received those frames, then until
    /// they have let them go; nothing else ends the wait. Clients that come later start with the
    /// newest frame that is left, or with the next.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and all is done that can be: frames that clients have not received by
    /// then are missed, those that they hold go back when they let them go.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        self.writer.drain(timeout)
    }

    /// Whether the slot is one of this publisher's.
    pub fn owns(&self, frame: &FrameMut) -> bool {
        Arc::ptr_eq(frame.writer(), &self.writer)
    }

    /// Sets the format of the frames published from now on. It is an event of the kind
    /// [`EventKind::Format`]. Its bytes mean nothing to this crate; the GStreamer elements expect
    /// encoded caps, as the crate `xmem-media` makes them.
    ///
    /// # Errors
    /// As [`send_event`](Publisher::send_event).
    pub fn set_format(&self, format: impl AsRef<[u8]>) -> Result<()> {
        self.writer.say(EventKind::Format, format.as_ref())
    }

    /// Says something in the stream, before the next frame. What is sticky and true already is not
    /// said again.
    ///
    /// # Errors
    /// [`Error::TooLong`] for more than 16 MiB;
    /// [`Error::ResourceExhausted`] where there is no memory for one of more than 32 KiB.
    pub fn send_event(&self, kind: EventKind, content: &[u8]) -> Result<()> {
        self.writer.say(kind, content)
    }

    /// What is true in the stream now, of a kind that is sticky: the content of the
    /// [`EventKind::Sticky`] with this key that was said last, or the format. `None` where nothing was said,
    /// for other kinds, and for the end of the stream.
    pub fn current(&self, kind: EventKind) -> Option<Arc<[u8]>> {
        let pool = self.writer.pool();
        match kind {
            EventKind::Sticky(_) | EventKind::Format => {
                let content = pool.current(kind)?;
                (!content.is_empty()).then_some(content)
            }
            _ => None,
        }
    }

    /// Ends the stream: clients receive what was published, then
    /// [`Error::EndOfStream`]. Publishing more starts it again.
    pub fn end_stream(&self) {
        // Fails only in a forked child, whose stream it is not.
        let _ = self.writer.say(EventKind::EndOfStream, &[]);
    }

    /// Waits until at least `count` clients are connected.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Cancelled`], [`Error::Stopped`] after `close`.
    pub fn wait_for_clients(&self, count: usize, timeout: Option<Duration>) -> Result<()> {
        self.wait_for_clients_cancellable(count, timeout, &self.canceller.begin()?)
    }

    /// As [`wait_for_clients`](Publisher::wait_for_clients); `cancel` ends the wait.
    ///
    /// # Errors
    /// As `wait_for_clients`.
    pub fn wait_for_clients_cancellable(
        &self,
        count: usize,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<()> {
        self.writer.wait_for_clients(count, timeout, cancel)
    }

    /// Clients connected now.
    pub fn num_clients(&self) -> usize {
        self.writer.pool().clients.len()
    }

    /// Figures of this moment.
    pub fn stats(&self) -> PublisherStats {
        let pool = self.writer.pool();
        let head = pool.head();
        PublisherStats {
            published: head,
            slots: pool.count(),
            slot_size: known_size(pool.slot_size()),
            segments: pool.segments.len(),
            bytes: pool.bytes(),
            departed_bytes: pool.departed_bytes,
            clients: pool
                .clients
                .iter()
                .map(|client| {
                    let page = client.page.words();
                    let identity = &client.identity;
                    ClientStats {
                        id: client.id,
                        name: identity.name.clone(),
                        pid: pidfd::known(identity.pid),
                        uid: identity.uid,
                        delivery: identity.delivery,
                        takes_unsealed: identity.takes_unsealed,
                        quota: client.granted,
                        wanted: client.wanted,
                        held: page.held().count() as u32,
                        lag: head.saturating_sub(page.position()),
                        missed: page.missed.load(std::sync::atomic::Ordering::Relaxed),
                        lagging: client.lagging,
                    }
                })
                .collect(),
        }
    }

    /// Says goodbye to the clients, which can still receive what was published, and removes the
    /// socket. Waits end with [`Error::Stopped`]. Does nothing in a forked child.
    pub fn close(&self) {
        if self.writer.check_origin().is_err() {
            return;
        }
        self.writer.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Called by the control thread itself, from `on_event`, it must not wait for itself.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // It never waits for a peer, so this is short. Should it have panicked, it has
            // closed everything as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("path", &self.path)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Figures of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Frames published.
    pub published: u64,
    /// Slots that frames to come can use.
    pub slots: u32,
    /// Bytes of such a slot, `None` until they are known.
    pub slot_size: Option<usize>,
    /// Blocks of memory that the slots are in.
    pub segments: usize,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of segments that are used no more, and that clients have not let go of.
    pub departed_bytes: u64,
    /// The clients there are.
    pub clients: Vec<ClientStats>,
}

/// Figures of one client. `held`, `lag` and `missed` are what the client itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Its number.
    pub id: ClientId,
    /// The name that it gave itself.
    pub name: String,
    /// Its process; `None` where that can't be seen from here.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Which frames it wants.
    pub delivery: Delivery,
    /// Whether it takes frames in memory that other processes may write
    /// ([`UnsealedMemory`](crate::UnsealedMemory)). While one client does not,
    /// [`Publisher::import_frame`] of such memory fails.
    pub takes_unsealed: bool,
    /// What it has: how many frames it can hold, and how far it can fall behind.
    pub quota: Quota,
    /// What it has asked for.
    pub wanted: Quota,
    /// Frames that it holds.
    pub held: u32,
    /// Frames published that it has not received yet.
    pub lag: u64,
    /// Frames that were gone before it received them.
    pub missed: u64,
    /// Whether the writer has given up waiting for it.
    pub lagging: bool,
}

/// The size of slots, which the pool has as 0 until it is known.
fn known_size(size: usize) -> Option<usize> {
    (size > 0).then_some(size)
}

fn process_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}
