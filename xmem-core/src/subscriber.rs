//! Floor 4: a client's end of a channel.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cancel::Canceller;
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::lease::{Claim, FrameId};
use crate::link::Link;
use crate::message::Delivery;
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED};
use crate::segment::{INLINE_EXTRA, MAX_EXTRA, MAX_LEASES, PayloadSegment, SegmentId};
use crate::sys::clock::Deadline;
use crate::sys::futex;
use crate::sys::poll::Bell;

mod control;

/// How often a client looks before it sleeps: a few microseconds, less than falling asleep and
/// waking up take.
const SPINS: u32 = 50;

/// Settings of a [`Subscriber`] to be.
#[derive(Clone, Debug)]
pub struct SubscriberBuilder {
    channel: Channel,
    name: String,
    leases: u32,
    delivery: Delivery,
    timeout: Option<Duration>,
    canceller: Option<Canceller>,
}

impl SubscriberBuilder {
    /// What the producer's stats call this client; at most 32 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Frames that can be held at once, 4 by default, at most 256. The producer keeps as many
    /// slots more for this client.
    pub fn leases(mut self, leases: u32) -> Self {
        self.leases = leases;
        self
    }

    /// Which frames to receive.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// How long to wait for a producer, 5 s by default; `None` is for ever.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends the waits of connecting and receiving.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.canceller = Some(canceller);
        self
    }

    /// Connects to the channel's producer; waits for one to appear.
    ///
    /// # Errors
    /// [`Error::NoProducer`] when none did in time, [`Error::Refused`] with its reason,
    /// [`Error::BadPath`] where there can't be one, [`Error::Cancelled`],
    /// [`Error::Disconnected`] when it went away meanwhile, [`Error::Protocol`] when it is not
    /// an xmem of this version.
    pub fn connect(self) -> Result<Subscriber> {
        if !(1..=MAX_LEASES).contains(&self.leases) {
            return Err(Error::InvalidSetting(format!(
                "max-leases is {}, 1 to {MAX_LEASES} are possible",
                self.leases
            )));
        }
        let canceller = match self.canceller {
            Some(canceller) => canceller,
            None => Canceller::new()?,
        };
        let (link, position, control) = control::connect(
            &self.channel,
            (self.leases, self.delivery, self.name),
            self.timeout,
            &canceller,
        )?;
        let link = Arc::new(link);
        let bell = control.bell();
        let thread = std::thread::Builder::new()
            .name("xmem-control".into())
            .spawn({
                let link = link.clone();
                move || control.run(&link)
            })
            .map_err(|source| Error::Socket {
                what: "starting the control thread".into(),
                source,
            })?;
        Ok(Subscriber {
            link,
            delivery: self.delivery,
            cursor: position,
            missed: 0,
            noted: 0,
            pending: None,
            eos_told: None,
            format: None,
            starved: 0,
            canceller,
            bell,
            thread: Some(thread),
        })
    }
}

/// A client's end of a channel: receives frames.
///
/// One thread at a time receives; the frames can go anywhere and outlive the subscriber.
pub struct Subscriber {
    link: Arc<Link>,
    delivery: Delivery,
    /// The position of the next frame.
    cursor: u64,
    /// Frames missed so far, and how many of them a frame has told of.
    missed: u64,
    noted: u64,
    /// A leased frame whose segment or format was not announced yet.
    pending: Option<Pending>,
    eos_told: Option<u64>,
    /// The format of the last frame.
    format: Option<(u32, Arc<str>)>,
    starved: u64,
    canceller: Canceller,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Subscriber>();
};

struct Pending {
    lease: u16,
    id: FrameId,
    meta: BufferMeta,
}

/// Why there is no frame now.
enum Nothing {
    /// Nothing more was published.
    Empty,
    /// Every lease is out.
    Starved,
    /// The frame's segment or format is not known yet.
    Unannounced,
}

impl Subscriber {
    /// Settings for a subscriber to a channel.
    pub fn builder(channel: Channel) -> SubscriberBuilder {
        SubscriberBuilder {
            channel,
            name: String::new(),
            leases: 4,
            delivery: Delivery::default(),
            timeout: Some(Duration::from_secs(5)),
            canceller: None,
        }
    }

    /// The next frame. Waits for it at most `timeout`, for ever with `None`; while every lease is
    /// out, it waits for a [`Frame`] to be dropped.
    ///
    /// What was published before an end of stream, a stop or a crash is received first.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Cancelled`]; [`Error::EndOfStream`] once, then what comes
    /// after it, if anything; [`Error::Stopped`] or [`Error::Disconnected`] when the producer is
    /// gone: connect anew; [`Error::Protocol`] when it lies.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Frame> {
        let deadline = Deadline::after(timeout);
        loop {
            let cancelled = self.canceller.wait()?;
            let event = self.link.event.since(self.link.event.snapshot());
            let nothing = match self.attempt()? {
                Ok(frame) => return Ok(frame),
                Err(nothing) => nothing,
            };
            match nothing {
                Nothing::Empty => {
                    if let Some(error) = self.end() {
                        // Told after the last frame: look once more, in that order.
                        if self.cursor < self.link.metadata.board().head() {
                            continue;
                        }
                        return Err(error);
                    }
                    if self.spin() {
                        continue;
                    }
                    let page = self.link.page.page();
                    let board = self.link.metadata.board();
                    if let Some(sequence) = board.prepare_sleep(&page, self.cursor) {
                        let sequence = futex::shared(board.sequence, sequence);
                        let waited = futex::wait_any(&[sequence, event, cancelled], deadline);
                        page.finish_sleep();
                        waited?;
                    }
                }
                Nothing::Starved => {
                    self.starved += 1;
                    futex::wait_any(&[event, cancelled], deadline)?;
                }
                Nothing::Unannounced => {
                    if self.link.told().end.is_some() {
                        // It will never be announced.
                        self.give_up_pending();
                        continue;
                    }
                    futex::wait_any(&[event, cancelled], deadline)?;
                }
            }
        }
    }

    /// Frames missed so far: they were gone before they could be received.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How often `receive` had to wait because every lease was out.
    pub fn starved(&self) -> u64 {
        self.starved
    }

    fn spin(&self) -> bool {
        let board = self.link.metadata.board();
        (0..SPINS).any(|_| {
            std::hint::spin_loop();
            board.head() > self.cursor
        })
    }

    /// What the control connection says comes after the last frame.
    fn end(&mut self) -> Option<Error> {
        let told = self.link.told();
        if told.eos.is_some() && told.eos != self.eos_told && told.eos <= Some(self.cursor) {
            self.eos_told = told.eos;
            return Some(Error::EndOfStream);
        }
        told.end.as_ref().map(|end| end.error())
    }

    /// Takes the next frame if it is there.
    fn attempt(&mut self) -> Result<std::result::Result<Frame, Nothing>> {
        if self.pending.is_none()
            && let Err(nothing) = self.claim()?
        {
            return Ok(Err(nothing));
        }
        let Some(pending) = &self.pending else {
            return Ok(Err(Nothing::Empty));
        };
        let Some((segment, format)) = self.announced(&pending.meta) else {
            return Ok(Err(Nothing::Unannounced));
        };
        let pending = self.pending.take().expect("looked at above");
        self.format = format;
        let meta = pending.meta;
        let end = meta.payload_offset.checked_add(meta.size);
        if end.is_none_or(|end| end > segment.mapping.len() as u64) {
            self.link.release(pending.lease);
            return Err(Error::Protocol(format!(
                "frame {} is outside of its segment",
                meta.seq
            )));
        }
        let missed = self.missed - self.noted;
        self.noted = self.missed;
        Ok(Ok(Frame::new(
            self.link.clone(),
            (pending.lease, pending.id),
            segment,
            meta,
            self.format.as_ref().map(|(_, text)| text.clone()),
            missed,
        )))
    }

    /// Leases the next frame there is, as `self.pending`.
    fn claim(&mut self) -> Result<std::result::Result<(), Nothing>> {
        let board = self.link.metadata.board();
        if board.head() <= self.cursor {
            return Ok(Err(Nothing::Empty));
        }
        let Some(lease) = self.link.take_lease() else {
            return Ok(Err(Nothing::Starved));
        };
        let page = self.link.page.page();
        let started_at = self.cursor;
        let claimed = loop {
            let head = board.head();
            let first = match self.delivery {
                Delivery::InOrder => head.saturating_sub(board.ring.len() as u64),
                Delivery::Latest => head.saturating_sub(1),
            };
            if self.cursor < first {
                self.missed += first - self.cursor;
                self.cursor = first;
            }
            match board.try_claim(&page, usize::from(lease), self.cursor) {
                Claim::Leased(id) => break Some(id),
                Claim::Empty => break None,
                Claim::Lost => {
                    self.missed += 1;
                    self.cursor += 1;
                }
            }
        };
        let Some(id) = claimed else {
            self.link.return_lease(lease);
            if self.cursor != started_at {
                self.moved();
            }
            return Ok(Err(Nothing::Empty));
        };
        let meta = self.link.metadata.read_meta(id.slot);
        if let Err(error) = check(&meta, self.cursor) {
            self.link.release(lease);
            return Err(error);
        }
        self.missed += meta.seq - self.cursor;
        self.cursor = meta.seq + 1;
        self.pending = Some(Pending { lease, id, meta });
        self.moved();
        Ok(Ok(()))
    }

    /// Makes the cursor and the count of missed frames known to the producer.
    fn moved(&self) {
        self.link
            .page
            .page()
            .missed
            .store(self.missed, std::sync::atomic::Ordering::Relaxed);
        self.link.pass(self.cursor);
    }

    /// The frame's segment and format, if they were announced.
    #[allow(clippy::type_complexity)]
    fn announced(
        &self,
        meta: &BufferMeta,
    ) -> Option<(Arc<PayloadSegment>, Option<(u32, Arc<str>)>)> {
        let mut told = self.link.told();
        let segment = told.segments.get(&SegmentId(meta.segment))?.clone();
        if meta.format == 0 {
            return Some((segment, None));
        }
        if let Some((id, text)) = &self.format
            && *id == meta.format
        {
            return Some((segment, Some((*id, text.clone()))));
        }
        let text = told.formats.get(&meta.format)?.clone();
        // Formats come in the order of their numbers: those before are not needed any more.
        told.formats.retain(|id, _| *id >= meta.format);
        Some((segment, Some((meta.format, text))))
    }

    fn give_up_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.missed += 1;
            self.link.release(pending.lease);
        }
    }
}

/// Checks what can be checked of a record before its segment is known.
fn check(meta: &BufferMeta, cursor: u64) -> Result<()> {
    meta.check()?;
    if meta.seq < cursor || meta.seq == u64::MAX {
        return Err(Error::Protocol(format!(
            "frame {} comes where {cursor} was due",
            meta.seq
        )));
    }
    let most = match meta.flags & FLAG_EXTRA_SPILLED {
        0 => INLINE_EXTRA,
        _ => MAX_EXTRA,
    };
    if meta.extra_len > most {
        return Err(Error::Protocol(format!(
            "frame {} has {} extra bytes",
            meta.seq, meta.extra_len
        )));
    }
    Ok(())
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.give_up_pending();
        // No writer waits for who receives no more, though frames of ours may still be held.
        self.link.pass(u64::MAX);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It never waits for the peer, so this is short.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber")
            .field("cursor", &self.cursor)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
