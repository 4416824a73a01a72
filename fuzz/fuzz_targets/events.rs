//! What is said between frames, and upstream, to events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::events(bytes));
