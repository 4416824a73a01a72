//! A client against a producer that lies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_tests::hostile::producer(bytes));
