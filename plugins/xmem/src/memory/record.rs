//! The record of a frame as a custom meta.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use gst::meta::CustomMeta;
#[cfg(test)]
use xmem_core::BufferMeta;

/// The name of the custom meta on `xmemsrc`'s buffers.
pub(crate) const RECORD: &str = "XmemBufferMeta";

/// The API type of the custom meta, by which it is recognized.
static RECORD_API: OnceLock<glib::Type> = OnceLock::new();

/// Registers the custom meta. Elements that copy or transform a buffer keep it.
pub(crate) fn register() {
    if !CustomMeta::is_registered(RECORD) {
        CustomMeta::register_with_transform(RECORD, &[], |target, meta, _, _| {
            let Ok(mut copy) = CustomMeta::add(target, RECORD) else {
                return false;
            };
            for (name, value) in meta.structure().iter() {
                copy.mut_structure().set_value(name, value.clone());
            }
            true
        });
    }
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.make_mut();
    if CustomMeta::add(buffer, RECORD).is_ok() {
        buffer.foreach_meta(|meta| {
            RECORD_API.get_or_init(|| meta.api());
            ControlFlow::Break(())
        });
    }
}

/// Returns whether `meta` is the custom meta that carries a frame's record.
pub(crate) fn is_record<T>(meta: &gst::MetaRefMut<gst::Meta, T>) -> bool {
    RECORD_API.get() == Some(&meta.api())
}

/// Returns whether `api` is the API type of the custom meta that carries a frame's record.
pub(crate) fn is_record_api(api: glib::Type) -> bool {
    RECORD_API.get() == Some(&api)
}

/// A record as that of a frame which was published at this position, and at this time in milliseconds.
#[cfg(test)]
pub(crate) fn received(record: BufferMeta, seq: u64, timestamp: u64) -> BufferMeta {
    let mut bytes = record.to_bytes();
    bytes[152..160].copy_from_slice(&timestamp.to_le_bytes());
    bytes[160..168].copy_from_slice(&seq.to_le_bytes());
    BufferMeta::from_bytes(&bytes).unwrap()
}
