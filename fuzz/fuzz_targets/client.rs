//! A producer against clients that lie.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_tests::hostile::clients(bytes));
