//! Runs a client against a hostile producer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_tests::hostile::producer(bytes));
