//! Decodes stream events and upstream events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::events(bytes));
