//! Decodes the record of a frame, and what a client derives from it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_core::fuzz::record(bytes));
