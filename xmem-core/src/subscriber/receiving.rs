//! The receiving thread: takes what is there, else waits for it.

use super::readiness::Look;
use super::step::{On, Step};
use super::{Item, Subscriber};
use crate::callback;
use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::link::End;
use crate::sys::clock::Deadline;
use crate::sys::futex::{self, Wait};

/// How often a client looks before it sleeps: a few microseconds, less than falling asleep and
/// waking up take.
const SPINS: u32 = 50;

/// What ends a wait after a look that has found nothing, besides what is waited for.
struct Ends<'a> {
    look: Look,
    cancelled: Wait<'a>,
    deadline: Deadline,
}

impl Subscriber {
    pub(super) fn receive_until(
        &mut self,
        deadline: Deadline,
        cancel: &Cancellation<'_>,
    ) -> Result<Item> {
        if let Some(readiness) = &self.readiness {
            readiness.rest();
        }
        let (mut again, mut starving) = (false, false);
        loop {
            let cancelled = cancel.wait()?;
            if std::mem::replace(&mut again, true) && deadline.has_passed() {
                return Err(if starving && self.free_leases() == 0 {
                    self.starved_error()
                } else {
                    Error::TimedOut
                });
            }
            // Before every look: what comes from here on ends the sleep.
            let ends = Ends {
                look: Look::new(&self.link),
                cancelled,
                deadline,
            };
            self.link.check()?;
            match self.step()? {
                Step::Item(item) => return Ok(item),
                Step::Retry => {}
                Step::Wait(On::Frame) => self.await_frame(&ends)?,
                Step::Wait(On::Lease) => {
                    if !std::mem::replace(&mut starving, true) {
                        self.tell_starved()?;
                    }
                    self.await_lease(&ends)?;
                }
                Step::Wait(On::Announcement) => {
                    if let Some(item) = self.await_announcement(&ends)? {
                        return Ok(item);
                    }
                }
            }
        }
    }

    /// Sleeps until a frame may be there or the connection tells something. An error if the stream or the
    /// connection has ended.
    fn await_frame(&mut self, ends: &Ends<'_>) -> Result<()> {
        let end = {
            let session = self.link.session();
            let end = session.end.as_ref();
            end.map(|end| (end.error(), *end == End::Stopped))
        };
        if let Some((error, has_told_all)) = end {
            // Told after the last frame: look once more, in that order.
            if self.cursor < self.link.metadata.words().head() {
                return Ok(());
            }
            // A producer that was killed may not have told all.
            let end = self.link.metadata.words().end();
            let is_due = end.is_some_and(|end| end <= self.cursor);
            if !has_told_all && is_due && end != self.end_told {
                self.end_told = end;
                return Err(Error::EndOfStream);
            }
            return Err(error);
        }
        if self.spin() {
            return Ok(());
        }
        if ends.deadline.has_passed() {
            // Nor does the producer have to wake a client that only looks.
            return Err(Error::TimedOut);
        }
        let page = self.link.page.words();
        if !self.link.metadata.words().prepare_sleep(&page, self.cursor) {
            return Ok(());
        }
        let published = futex::shared(page.wake, ends.look.wake);
        let signal = self.link.wake_word.since(ends.look.signals);
        let waited = futex::wait_any(&[published, signal, ends.cancelled], ends.deadline);
        page.finish_sleep();
        waited
    }

    fn spin(&self) -> bool {
        let channel_words = self.link.metadata.words();
        (0..SPINS).any(|_| {
            std::hint::spin_loop();
            channel_words.head() > self.cursor
        })
    }

    /// Counts that every lease is out, and tells the application.
    fn tell_starved(&mut self) -> Result<()> {
        self.starved += 1;
        let Some(observer) = &self.on_starved else {
            return Ok(());
        };
        callback::call("on_starved", || observer()).map_err(|reason| {
            self.link.finish(End::Failed(reason.clone()));
            Error::Failed(reason)
        })
    }

    /// Sleeps until a lease may be free.
    fn await_lease(&self, ends: &Ends<'_>) -> Result<()> {
        self.await_signal(ends).map_err(|error| match error {
            Error::TimedOut => self.starved_error(),
            other => other,
        })
    }

    /// Sleeps until the connection tells something. What it has not told when it ends never comes: then
    /// the frame that waits for it is given up, or received after all.
    fn await_announcement(&mut self, ends: &Ends<'_>) -> Result<Option<Item>> {
        if self.link.session().end.is_none() {
            return self.await_signal(ends).map(|()| None);
        }
        // Look once more, in that order.
        match self.step()? {
            Step::Item(item) => return Ok(Some(item)),
            Step::Wait(On::Announcement) => self.give_up_pending(),
            Step::Wait(On::Frame | On::Lease) | Step::Retry => {}
        }
        Ok(None)
    }

    fn await_signal(&self, ends: &Ends<'_>) -> Result<()> {
        let signal = self.link.wake_word.since(ends.look.signals);
        futex::wait_any(&[signal, ends.cancelled], ends.deadline)
    }

    fn starved_error(&self) -> Error {
        let leases = self.granted().quota.leases;
        Error::Starved { leases }
    }
}
