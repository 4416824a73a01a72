//! One look for the next item: an event, or a frame with all that belongs to it.

use std::sync::atomic::Ordering;

use super::pending::{Announced, Announcement, Pending, check};
use super::{Item, Subscriber};
use crate::error::{Error, Result};
use crate::event::{EventKind, StreamEvent};
use crate::frame::Frame;
use crate::lease::Claim;
use crate::link::End;
use crate::message::Delivery;
use crate::meta::FLAG_EXTRA_SPILLED;
use crate::segment::{SPILL_SIZE, read_location};

/// What a look has come to.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are frames, and a box would be an allocation for each"
)]
pub(super) enum Step {
    /// The next item.
    Item(Item),
    /// There is nothing before something happens.
    Wait(On),
    /// A frame was given up; the next may be there.
    Retry,
}

/// What a receiving thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Nothing more was published.
    Frame,
    /// Every lease is out.
    Lease,
    /// The frame's segment, or an event before it, was not told yet.
    Announcement,
}

impl Subscriber {
    /// Takes the next item if it is there.
    pub(super) fn step(&mut self) -> Result<Step> {
        self.skip_void();
        if self.pending.is_none() {
            if self.link.metadata.words().head() <= self.cursor {
                return self.next_event();
            }
            let Some(lease) = self.link.take_lease() else {
                return Ok(Step::Wait(On::Lease));
            };
            self.claim(lease)?;
            if self.pending.is_none() {
                return self.next_event();
            }
        }
        match self.announced() {
            Ok(Announcement::Complete(announced)) => self.take_frame(announced),
            Ok(Announcement::Event(event, position)) => self.take_event(event, position),
            Ok(Announcement::ToCome) => Ok(Step::Wait(On::Announcement)),
            Ok(Announcement::Void) => {
                self.skip_void();
                Ok(Step::Retry)
            }
            Ok(Announcement::Forgotten) => {
                self.give_up_pending();
                Ok(Step::Retry)
            }
            Err(error) => {
                self.give_up_pending();
                Err(error)
            }
        }
    }

    /// Takes the next event, where no frame comes before it.
    fn next_event(&mut self) -> Result<Step> {
        let next = {
            let mut session = self.link.session();
            self.flushes = session.events.flushes();
            session.events.next(self.cursor)
        };
        match next {
            Some((event, position)) => self.take_event(event, position),
            None => Ok(Step::Wait(On::Frame)),
        }
    }

    /// Takes the pending frame, of which all was told.
    fn take_frame(&mut self, announced: Announced) -> Result<Step> {
        let Some(pending) = self.pending.take() else {
            return Ok(Step::Retry);
        };
        if let Err(error) = announced.prepare(&pending.meta) {
            self.link.release(pending.lease);
            self.missed += 1;
            self.link.finish(End::of(error));
            self.link.check()?;
            return Ok(Step::Retry);
        }
        let missed = self.missed - self.noted;
        self.noted = self.missed;
        Ok(Step::Item(Item::Frame(Frame::new(
            self.link.clone(),
            (pending.lease, pending.id),
            (announced.segment, announced.spilled),
            pending.meta,
            self.format.clone(),
            missed,
        ))))
    }

    /// Takes an event in, whose turn has come.
    fn take_event(&mut self, event: StreamEvent, position: u64) -> Result<Step> {
        match event.kind() {
            EventKind::EndOfStream => {
                self.end_told = Some(position);
                return Err(Error::EndOfStream);
            }
            // An equal format stays the same allocation, so that callers can compare addresses.
            EventKind::Format if self.format.as_deref() != Some(event.content()) => {
                self.format = Some(event.content().into());
            }
            _ => {}
        }
        Ok(Step::Item(Item::Event(event)))
    }

    /// Passes over what a flush has made void. None of that counts as missed.
    fn skip_void(&mut self) {
        let void = self.link.void();
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.meta.seq < void)
            && let Some(pending) = self.pending.take()
        {
            self.link.release(pending.lease);
        }
        if self.cursor < void {
            self.cursor = void;
            self.moved();
        }
    }

    /// Leases the next frame there is, which is pending then.
    fn claim(&mut self, lease: u16) -> Result<()> {
        let channel_words = self.link.metadata.words();
        let page = self.link.page.words();
        let started_at = self.cursor;
        let mut claimed = None;
        // Bounded, so that a producer that lies does not keep us here.
        for _ in 0..channel_words.ring.len() {
            let head = channel_words.head();
            let first = match self.delivery {
                Delivery::InOrder => head.saturating_sub(channel_words.ring.len() as u64),
                Delivery::Latest => head.saturating_sub(1),
            };
            if self.cursor < first {
                self.missed += first - self.cursor;
                self.cursor = first;
            }
            match channel_words.try_claim(&page, usize::from(lease), self.cursor) {
                Claim::Leased(id) => {
                    claimed = Some(id);
                    break;
                }
                Claim::Empty => break,
                Claim::Lost => {
                    self.missed += 1;
                    self.cursor += 1;
                }
            }
        }
        let Some(id) = claimed else {
            self.link.return_lease(lease);
            if self.cursor != started_at {
                self.moved();
            }
            return Ok(());
        };
        let mut meta = self.link.metadata.read_meta(id.slot());
        meta.shift_times(self.link.clock_offset);
        if let Err(error) = check(&meta, self.cursor) {
            self.link.release(lease);
            return Err(error);
        }
        self.missed += meta.seq - self.cursor;
        self.cursor = meta.seq + 1;
        let spilled = (meta.flags & FLAG_EXTRA_SPILLED != 0).then(|| {
            let mut location = [0; SPILL_SIZE];
            self.link.metadata.read_extra(id.slot(), &mut location);
            read_location(&location)
        });
        self.pending = Some(Pending {
            lease,
            id,
            meta,
            spilled,
        });
        self.moved();
        Ok(())
    }

    /// Makes the cursor and the count of missed frames known to the producer.
    pub(super) fn moved(&self) {
        let missed = self.link.page.words().missed;
        missed.store(self.missed, Ordering::Relaxed);
        self.link.pass(self.cursor);
    }
}
