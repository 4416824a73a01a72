//! Decodes extra bytes to the metas of a buffer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gstxmem::fuzz::metas(bytes));
