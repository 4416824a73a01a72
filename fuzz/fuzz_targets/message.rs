//! Decodes messages of the control connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_core::fuzz::message(bytes));
