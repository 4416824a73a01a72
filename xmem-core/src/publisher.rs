//! Floor 4: the producer's end of a channel.

use std::any::Any;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cancel::{Cancellation, Canceller};
use crate::error::Result;
use crate::event::EventKind;
use crate::frame::{FrameMut, ImportedFrame};
use crate::pool::KeepAlive;
use crate::segment::{ImportedMemory, Storage};
use crate::writer::Writer;

pub(crate) mod builder;
mod control;
mod departed;
mod linger;
mod peer;
mod shedding;
mod stats;
mod unread;

use stats::known_size;
pub use stats::{ClientStats, PublisherStats};

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
///     frame.payload()?.fill(number);
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
};

impl Publisher {
    /// The path of the channel's socket.
    pub fn socket_path(&self) -> &std::path::Path {
        &self.path
    }

    /// Makes room: slots have at least `slot_size` bytes from now on, and there are at least
    /// `slots` for the producer itself. Where slots become larger, the old ones go with the
    /// last lease on them.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there is not enough memory.
    pub fn configure(&self, slot_size: usize, slots: u32) -> Result<()> {
        self.writer.configure(slot_size, slots)
    }

    /// Bytes of a slot, `None` until they are known.
    pub fn slot_size(&self) -> Option<usize> {
        self.writer.with_pool(|pool| known_size(pool))
    }

    /// A slot of at least `len` bytes to write the next frame into.
    ///
    /// With [`Overflow::Block`](crate::Overflow::Block) it may wait for clients. When the producer itself holds every slot
    /// there may be, it fails at once.
    ///
    /// # Errors
    /// [`Error::Exhausted`](crate::Error::Exhausted), [`Error::Cancelled`](crate::Error::Cancelled), [`Error::Stopped`](crate::Error::Stopped) after `close`,
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there is no memory for larger or more slots.
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
    /// its drop ends the channel with [`Error::Failed`](crate::Error::Failed).
    ///
    /// # Errors
    /// [`Error::Exhausted`](crate::Error::Exhausted) where there are too many such frames or pieces of memory,
    /// [`Error::InvalidShape`](crate::Error::InvalidShape) where the range is not inside the memory, [`Error::UnsealedMemory`](crate::Error::UnsealedMemory)
    /// where a client does not take such memory, [`Error::Stopped`](crate::Error::Stopped) after `close`.
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

    /// Has the next slots made of other memory, where a stream changes between memory of the machine and that
    /// of a device, for example. Their size is not known then: [`configure`](Publisher::configure) says it,
    /// or the next [`acquire`](Publisher::acquire). Frames that were published can be received as before.
    /// Clients that do not take the new memory are evicted. Waits until a device has written the frames that
    /// were passed to [`publish_after`](FrameMut::publish_after).
    ///
    /// A slot that was acquired before can't be published: that fails with
    /// [`Error::WrongStorage`](crate::Error::WrongStorage).
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) when the publisher was closed.
    pub fn set_storage(&self, storage: Storage) -> Result<()> {
        self.writer.set_storage(storage)
    }

    /// Says whether all frames are in memory that other processes may write, and can't be copied: a
    /// format may mean memory of a device. Then clients that take none are refused, and those
    /// that there are are evicted, so that [`import_frame`](Publisher::import_frame) works for the
    /// others.
    pub fn set_unsealed_only(&self, only: bool) {
        self.writer.with_pool(|pool| pool.set_unsealed_only(only));
        self.writer.event_fd.notify();
    }

    /// Gives [imported](Publisher::import_frame) memory back to its owner until `enough` says so:
    /// first the frames that every client has passed, then the oldest that no client holds. Clients
    /// that are further behind than there would be slots miss these; with [`Overflow::Block`](crate::Overflow::Block) they
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
    /// [`Error::TimedOut`](crate::Error::TimedOut), and all is done that can be: frames that clients have not received by
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
    /// [`Error::TooLong`](crate::Error::TooLong) for more than 16 MiB;
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there is no memory for one of more than 32 KiB.
    pub fn send_event(&self, kind: EventKind, content: &[u8]) -> Result<()> {
        self.writer.say(kind, content)
    }

    /// What is true in the stream now, of a kind that is sticky: the content of the
    /// [`EventKind::Sticky`] with this key that was said last, or the format. `None` where nothing was said,
    /// for other kinds, and for the end of the stream.
    pub fn current(&self, kind: EventKind) -> Option<Arc<[u8]>> {
        match kind {
            EventKind::Sticky(_) | EventKind::Format => {
                let content = self.writer.with_pool(|pool| pool.current(kind))?;
                (!content.is_empty()).then_some(content)
            }
            _ => None,
        }
    }

    /// Ends the stream: clients receive what was published, then
    /// [`Error::EndOfStream`](crate::Error::EndOfStream). Publishing more starts it again.
    pub fn end_stream(&self) {
        // Fails only in a forked child, whose stream it is not.
        let _ = self.writer.say(EventKind::EndOfStream, &[]);
    }

    /// Waits until at least `count` clients are connected.
    ///
    /// # Errors
    /// [`Error::TimedOut`](crate::Error::TimedOut), [`Error::Cancelled`](crate::Error::Cancelled), [`Error::Stopped`](crate::Error::Stopped) after `close`.
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
        self.writer.with_pool(|pool| pool.clients.len())
    }

    /// Figures of this moment.
    pub fn stats(&self) -> PublisherStats {
        PublisherStats::of(&self.writer)
    }

    /// Says goodbye to the clients, which can still receive what was published, and removes the
    /// socket. Waits end with [`Error::Stopped`](crate::Error::Stopped). Does nothing in a forked child.
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
