//! Calls that fail because a test wants it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::result::Code;
use crate::settings::Settings;

/// Counts a call. Returns the error that it fails with.
pub fn of_call(settings: &Settings, function: &'static str) -> Option<Code> {
    static CALLS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
    let mut faults = settings.faults.iter();
    if !faults.any(|fault| fault.function == function) {
        return None;
    }
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = calls.entry(function).or_insert(0);
    *count += 1;
    let call = *count;
    let mut faults = settings.faults.iter();
    let fault = faults
        .find(|fault| fault.function == function && fault.call.is_none_or(|number| number == call));
    fault.map(|fault| Code(fault.code))
}
