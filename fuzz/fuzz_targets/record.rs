//! A frame's record, and what a client derives of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_core::fuzz::record(bytes));
