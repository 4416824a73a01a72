//! Runs a producer against hostile clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_tests::hostile::clients(bytes));
