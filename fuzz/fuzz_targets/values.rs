//! Values to what they are, and back; the text of caps too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_media::fuzz::values(bytes));
