//! GStreamer calls whose Rust bindings are wrong for some callers.
//!
//! An element that is in no bin, a pad without a parent, and an object that C code created with
//! `g_object_new` have a *floating* reference: the reference of their creator, which the first call
//! of `g_object_ref_sink` takes over. The bindings make a Rust object from a borrowed pointer with
//! `from_glib_none`, which makes that call. If the reference floats, the Rust object then owns the
//! creator's reference, and its drop frees the object. A clone, an upgraded weak reference, a value
//! and `from_glib_full` take a reference of their own (`g_object_ref`), which does not change a
//! floating reference.
//!
//! Therefore the plugin avoids the bindings that use `from_glib_none` for a `GObject` that other
//! code may have created. `clippy.toml` lists them, and also the bindings that panic in cases that
//! are no error.
#![allow(unsafe_code)]

use glib::translate::{FromGlibPtrFull, ToGlibPtr, from_glib, from_glib_full};
use gst::ffi;

/// Takes an additional reference and leaves a floating reference as it is. `None` for NULL.
///
/// # Safety
/// `object` must be NULL or point to a `T` that is alive.
pub(crate) unsafe fn reference<T>(object: *mut T::GlibType) -> Option<T>
where
    T: glib::object::ObjectType + FromGlibPtrFull<*mut T::GlibType>,
{
    if object.is_null() {
        return None;
    }
    // SAFETY: the caller promises that the object is alive. The result owns the reference that
    // `g_object_ref` takes here.
    unsafe {
        glib::gobject_ffi::g_object_ref(object.cast());
        Some(from_glib_full(object))
    }
}

/// Returns the type of a stream-status message, `None` for another message. The binding cannot be
/// used, because it also makes an object of the message's owner.
pub(crate) fn stream_status(message: &gst::MessageRef) -> Option<gst::StreamStatusType> {
    if message.type_() != gst::MessageType::StreamStatus {
        return None;
    }
    message.structure()?.get("type").ok()
}

/// The streams of a collection.
pub(crate) fn streams(collection: &gst::StreamCollection) -> impl Iterator<Item = gst::Stream> {
    let pointer: *mut ffi::GstStreamCollection = collection.to_glib_none().0;
    // SAFETY: the collection is borrowed, so it is alive, and it keeps its streams.
    let stream =
        move |index| unsafe { reference(ffi::gst_stream_collection_get_stream(pointer, index)) };
    (0..collection.len() as u32).map_while(stream)
}

/// Returns the pool to which a buffer returns.
pub(crate) fn pool_of(buffer: &gst::BufferRef) -> Option<gst::BufferPool> {
    // SAFETY: the buffer is borrowed, so it is alive. While it is in use it holds a reference to
    // its pool.
    unsafe { reference((*buffer.as_ptr()).pool) }
}

/// Returns the pads of the same element that are linked to this pad internally. `None` if the pad
/// has no parent or its element returns no iterator; the binding would take NULL for an iterator.
pub(crate) fn internal_links(pad: &gst::Pad) -> Option<gst::Iterator<gst::Pad>> {
    // SAFETY: the pad is borrowed, so it is alive. The caller owns the iterator.
    unsafe { from_glib_full(ffi::gst_pad_iterate_internal_links(pad.to_glib_none().0)) }
}

/// Returns the time of a clock. `None` if the clock does not know the time; the binding panics
/// then.
pub(crate) fn clock_time(clock: &gst::Clock) -> Option<gst::ClockTime> {
    // SAFETY: the clock is borrowed, so it is alive.
    unsafe { from_glib(ffi::gst_clock_get_time(clock.to_glib_none().0)) }
}

#[cfg(test)]
mod tests {
    use glib::translate::IntoGlib;
    use gst::prelude::*;

    use super::*;

    /// An object as C code creates it: its only reference floats.
    fn floating<T: FromGlibPtrFull<*mut T::GlibType> + IsA<gst::Object>>() -> T {
        let none = std::ptr::null::<std::ffi::c_char>();
        // SAFETY: the type is the type of the object, and NULL ends the empty list of properties.
        // The caller owns the reference.
        unsafe {
            let object = glib::gobject_ffi::g_object_new(T::static_type().into_glib(), none);
            from_glib_full(object.cast::<T::GlibType>())
        }
    }

    fn floats(object: &impl IsA<gst::Object>) -> bool {
        let object: *mut ffi::GstObject = object.as_ref().to_glib_none().0;
        // SAFETY: the object is borrowed, so it is alive.
        unsafe { from_glib(glib::gobject_ffi::g_object_is_floating(object.cast())) }
    }

    #[test]
    fn pools_of_buffers_keep_a_reference_that_floats() {
        gst::init().unwrap();
        let pool: gst::BufferPool = floating();
        let mut config = pool.config();
        config.set_params(None, 16, 0, 0);
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        let buffer = pool.acquire_buffer(None).unwrap();
        let before = (pool.ref_count(), floats(&pool));
        assert!(before.1);
        assert_eq!(pool_of(&buffer).as_ref(), Some(&pool));
        assert_eq!((pool.ref_count(), floats(&pool)), before);
        drop(buffer);
        pool.set_active(false).unwrap();
        assert!(pool_of(&gst::Buffer::new()).is_none());
    }

    #[test]
    fn streams_of_collections_keep_a_reference_that_floats() {
        gst::init().unwrap();
        let collection = gst::StreamCollection::builder(None).build();
        let stream: gst::Stream = floating();
        // SAFETY: both are alive, and the collection owns the reference that is taken here.
        unsafe {
            let pointer: *mut ffi::GstStream = stream.to_glib_none().0;
            glib::gobject_ffi::g_object_ref(pointer.cast());
            ffi::gst_stream_collection_add_stream(collection.to_glib_none().0, pointer);
        }
        let before = (stream.ref_count(), floats(&stream));
        assert!(before.1);
        assert!(streams(&collection).eq(std::iter::once(stream.clone())));
        assert_eq!((stream.ref_count(), floats(&stream)), before);
    }

    #[test]
    fn the_owner_of_a_status_keeps_a_reference_that_floats() {
        gst::init().unwrap();
        let owner: gst::Pipeline = floating();
        let kind = gst::StreamStatusType::Leave;
        let message = gst::message::StreamStatus::new(kind, owner.upcast_ref());
        let before = (owner.ref_count(), floats(&owner));
        assert!(before.1);
        assert_eq!(stream_status(&message), Some(kind));
        assert_eq!((owner.ref_count(), floats(&owner)), before);
        assert_eq!(stream_status(&gst::message::Eos::new()), None);
    }

    #[test]
    fn a_pad_without_a_parent_has_no_links() {
        gst::init().unwrap();
        let pad = gst::Pad::new(gst::PadDirection::Sink);
        assert!(internal_links(&pad).is_none());
    }
}
