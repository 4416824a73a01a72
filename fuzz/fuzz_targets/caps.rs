//! The text of a format to caps.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::caps(bytes));
