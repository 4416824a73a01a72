//! Values, events and metas to what they mean, and back; the text of caps too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xmem_media::fuzz::media(bytes));
