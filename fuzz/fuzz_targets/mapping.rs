//! Caps, events and metas to GStreamer's, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::mapping(bytes));
