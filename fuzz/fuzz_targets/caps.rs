//! The format of frames to caps, and to what a client derives of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::caps(bytes));
