//! Problems that elements and libraries report in this process.

use std::sync::{Mutex, PoisonError};

use gst::glib::{self, LogLevel, LogWriterOutput};

static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// More problems than this add no information.
const MOST: usize = 20;

/// Records a problem.
pub fn add(problem: String) {
    let mut problems = PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner);
    if problems.len() < MOST && !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// The problems since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Records everything that is logged through GLib as a warning or worse, from now on.
pub fn collect() {
    glib::log_set_writer_func(|level, fields| {
        let field = |name| {
            let field = fields.iter().find(|field| field.key() == name);
            field.and_then(glib::LogField::value_str).unwrap_or("")
        };
        let word = match level {
            LogLevel::Error => "ERROR",
            LogLevel::Critical => "CRITICAL",
            LogLevel::Warning => "WARNING",
            _ => return LogWriterOutput::Handled,
        };
        let (domain, text) = (field("GLIB_DOMAIN"), field("MESSAGE"));
        // An error ends the process; then only this line is left of it.
        eprintln!("{domain}-{word}: {text}");
        add(format!("GLib {word}: {domain}: {text}"));
        LogWriterOutput::Handled
    });
}

/// Records errors and warnings from a message of the bus.
pub fn see(message: &gst::Message) {
    let from = message.src().map(gst::prelude::GstObjectExt::name);
    // The numbers that GStreamer gives to unnamed elements differ from client to client.
    let from = from.as_deref().unwrap_or("?");
    let from = from.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match message.view() {
        gst::MessageView::Error(error) => {
            let debug = error.debug().unwrap_or_default();
            let debug = debug.lines().nth(1).unwrap_or_default().trim();
            add(format!("error of {from}: {} ({debug})", error.error()));
        }
        gst::MessageView::Warning(warning) => {
            add(format!("warning of {from}: {}", warning.error()));
        }
        _ => {}
    }
}
