//! What the application is told of a stream. Messages are posted when no lock is held, because the
//! application may handle them on the thread that posts them.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gst_base::BaseSink;
use xmem_core::Error;

use crate::errors;
use crate::metas::{LeftBehind, UnfitKind};

/// What a message is about that is posted once: the name of a meta or an event, and why it was not
/// published.
type Subject = (String, Option<UnfitKind>);

/// Posts the messages of a stream.
pub(super) struct Reporter {
    sink: glib::WeakRef<BaseSink>,
    told: Mutex<Vec<Subject>>,
}

/// A message for the application.
enum Report {
    /// An event was not sent to the clients.
    Unsent(Error),
    /// Clients cannot use a part of the stream.
    Unusable(String),
    /// Frames are copied, because this number of clients refuse memory that others may write.
    Unsealed(u32),
}

/// Reports that are posted on drop.
pub(in crate::xmemsink) struct Outbox<'a> {
    reporter: &'a Reporter,
    reports: Vec<Report>,
}

impl Reporter {
    pub(super) fn new(sink: &BaseSink) -> Reporter {
        Reporter {
            sink: sink.downgrade(),
            told: Mutex::default(),
        }
    }

    pub(super) fn sink(&self) -> Option<BaseSink> {
        self.sink.upgrade()
    }

    pub(super) fn outbox(&self) -> Outbox<'_> {
        Outbox {
            reporter: self,
            reports: Vec::new(),
        }
    }

    /// Returns whether the application was not told of this before.
    fn is_first(&self, what: &str, why: Option<UnfitKind>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !told.iter().any(|told| told.0 == what && told.1 == why);
        if is_first {
            told.push((what.to_owned(), why));
        }
        is_first
    }
}

impl Outbox<'_> {
    /// Tells the application that an event was not sent.
    pub(super) fn report_unsent(&mut self, error: Error) {
        self.reports.push(Report::Unsent(error));
    }

    /// Tells the application that frames are copied because clients refuse memory that other
    /// processes may write.
    pub(super) fn report_unsealed(&mut self, clients: u32) {
        self.reports.push(Report::Unsealed(clients));
    }

    /// Tells the application of a meta that was left out.
    pub(super) fn report_left_behind(&mut self, left: &LeftBehind) {
        let LeftBehind {
            meta,
            why,
            is_copied,
        } = left;
        let done = if *is_copied {
            "The picture was copied to the layout of its caps"
        } else {
            "The frame was published without it"
        };
        self.warn_once((meta, Some(why.kind())), || {
            format!(
                "Clients cannot use the {meta} of a buffer: {why}. {done}; further ones are only \
                 counted (refused-metas in stats)"
            )
        });
    }

    /// Tells the application that a meta or an event of the name `what` is not published. Does so
    /// once for each name and reason.
    pub(super) fn warn_once(
        &mut self,
        (what, why): (&str, Option<UnfitKind>),
        text: impl FnOnce() -> String,
    ) {
        if self.reporter.is_first(what, why) {
            self.reports.push(Report::Unusable(text()));
        }
    }
}

impl Drop for Outbox<'_> {
    fn drop(&mut self) {
        if self.reports.is_empty() {
            return;
        }
        if let Some(sink) = self.reporter.sink() {
            self.reports.drain(..).for_each(|report| report.post(&sink));
        }
    }
}

impl Report {
    fn post(self, sink: &BaseSink) {
        match self {
            Report::Unsent(error) => {
                let why = errors::text(&error);
                let text = format!("Cannot send an event to the clients: {why}");
                gst::element_warning!(sink, gst::ResourceError::Write, ("{text}"), ["{error:?}"]);
            }
            Report::Unusable(text) => {
                gst::element_warning!(sink, gst::StreamError::Format, ("{text}"));
            }
            Report::Unsealed(clients) => {
                gst::element_info!(
                    sink,
                    gst::ResourceError::Settings,
                    ("Upstream's memory is copied, because {clients} clients refuse memory that \
                         other processes may write (dmabufs, memfds without a write seal). If they \
                         trust this producer, set unsealed-memory=always on their xmemsrc")
                );
            }
        }
    }
}
