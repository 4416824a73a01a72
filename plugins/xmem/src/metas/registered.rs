//! Metas of applications and plugins that have functions to serialize and deserialize them.
#![allow(unsafe_code)]

use glib::translate::{IntoGlib, from_glib};
use xmem_media::meta::Registered;

use super::unfit::{NotRead, Result};
use crate::memory::record;

/// What GStreamer writes: all bytes (`u32`), bytes of the name (`u32`), the name, a zero, a byte for
/// the version, and what the meta's own function has written.
pub(super) fn write(meta: &gst::MetaRef<'_, gst::Meta>) -> Option<Registered> {
    let mut bytes = Vec::new();
    meta.serialize(&mut bytes).ok()?;
    name(&bytes)?;
    Some(Registered { bytes })
}

/// Returns the name in what GStreamer has written, if its form is right.
fn name(bytes: &[u8]) -> Option<&str> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let total = u32::from_le_bytes(*head.first_chunk()?) as usize;
    let length = u32::from_le_bytes(*head.last_chunk()?) as usize;
    let (name, rest) = rest.split_at_checked(length)?;
    // GStreamer has one byte for the length of all that stands before the meta's own.
    let is_whole = total == bytes.len() && rest.len() >= 2 && rest[0] == 0 && length + 10 < 256;
    let name = std::str::from_utf8(name).ok()?;
    (is_whole && !name.contains('\0')).then_some(name)
}

/// A function that the application has registered reads what the producer's has written, and checks
/// it. If the producer is not trusted, that function has to check all that it reads. None of
/// GStreamer's own functions is called here: `crosses` says which APIs cross in another way.
pub(super) fn read(
    buffer: &mut gst::BufferRef,
    meta: &Registered,
    crosses: impl FnOnce(glib::Type) -> bool,
) -> Result {
    let bytes = &meta.bytes;
    let name = name(bytes).ok_or(NotRead::Broken)?;
    if !is_others(name, crosses) {
        return Err(NotRead::Unknown);
    }
    match gst::Meta::deserialize(buffer, bytes, &mut 0) {
        Ok(_) => Ok(()),
        Err(_) => Err(NotRead::Unknown),
    }
}

/// Returns whether a meta of this name is registered and does not cross in another way: GStreamer's
/// functions for those trust what they read.
fn is_others(name: &str, crosses: impl FnOnce(glib::Type) -> bool) -> bool {
    // SAFETY: the name is a text that ends with a zero, and a registration is never removed.
    let api = glib::IntoGStr::run_with_gstr(name, |name| unsafe {
        let info = gst::ffi::gst_meta_get_info(name.as_ptr()).as_ref()?;
        let is_custom = gst::ffi::gst_meta_info_is_custom(info) != glib::ffi::GFALSE;
        (!is_custom).then_some(info.api)
    });
    let Some(api) = api else { return false };
    // SAFETY: it is the type of an API.
    let api: glib::Type = unsafe { from_glib(api) };
    api.into_glib() != 0 && !record::is_record_api(api) && !crosses(api)
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use glib::ffi::{GFALSE, GTRUE, gboolean, gpointer};
    use gst::ffi::{GstBuffer, GstByteArrayInterface, GstMeta, GstMetaInfo};

    use super::super::kind::REGISTERED;
    use super::super::tests::record;
    use super::super::{attach, serialize};
    use super::*;
    use crate::fuzz::quietly;

    /// A meta of an application: a number and a text, of which all bytes are the same.
    #[repr(C)]
    struct Own {
        meta: GstMeta,
        byte: u8,
        length: usize,
    }

    unsafe extern "C" fn init(_: *mut GstMeta, _: gpointer, _: *mut GstBuffer) -> gboolean {
        GTRUE
    }

    unsafe extern "C" fn serialize_own(
        meta: *const GstMeta,
        data: *mut GstByteArrayInterface,
        version: *mut u8,
    ) -> gboolean {
        // SAFETY: GStreamer calls it for such metas, with a byte array and room for a version.
        unsafe {
            let own = &*meta.cast::<Own>();
            let at = (*data).len;
            let resize = (*data).resize.expect("an array grows");
            if resize(data, at + own.length) == GFALSE {
                return GFALSE;
            }
            (*data).data.add(at).write_bytes(own.byte, own.length);
            *version = 3;
        }
        GTRUE
    }

    unsafe extern "C" fn deserialize_own(
        info: *const GstMetaInfo,
        buffer: *mut GstBuffer,
        data: *const u8,
        size: usize,
        version: u8,
    ) -> *mut GstMeta {
        // SAFETY: GStreamer calls it with so many bytes and a buffer that can be written.
        unsafe {
            let bytes = std::slice::from_raw_parts(data, size);
            if version != 3 || bytes.windows(2).any(|two| two[0] != two[1]) {
                return std::ptr::null_mut();
            }
            let meta = gst::ffi::gst_buffer_add_meta(buffer, info, std::ptr::null_mut());
            let own = meta.cast::<Own>();
            (*own).byte = bytes.first().copied().unwrap_or(0);
            (*own).length = size;
            meta
        }
    }

    fn info() -> *const GstMetaInfo {
        static INFO: OnceLock<usize> = OnceLock::new();
        // SAFETY: names and functions are never freed, and the size is that of the structure.
        *INFO.get_or_init(|| unsafe {
            gst::init().unwrap();
            let tags: [*const std::ffi::c_char; 1] = [std::ptr::null()];
            let (api, name) = (c"XmTestOwnMetaAPI".as_ptr(), c"XmTestOwnMeta".as_ptr());
            let api = gst::ffi::gst_meta_api_type_register(api, tags.as_ptr().cast_mut());
            let info = gst::ffi::gst_meta_info_new(api, name, std::mem::size_of::<Own>());
            (*info).init_func = Some(init);
            (*info).serialize_func = Some(serialize_own);
            (*info).deserialize_func = Some(deserialize_own);
            gst::ffi::gst_meta_info_register(info) as usize
        }) as *const GstMetaInfo
    }

    fn with(byte: u8, length: usize) -> gst::Buffer {
        let info = info();
        let mut buffer = gst::Buffer::new();
        // SAFETY: the buffer is new, and the meta of that structure.
        unsafe {
            let buffer = buffer.make_mut().as_mut_ptr();
            let own = gst::ffi::gst_buffer_add_meta(buffer, info, std::ptr::null_mut());
            let own = own.cast::<Own>();
            (*own).byte = byte;
            (*own).length = length;
        }
        buffer
    }

    fn own(buffer: &gst::BufferRef) -> Option<(u8, usize)> {
        // SAFETY: metas of that API are of that structure.
        unsafe {
            let buffer = buffer.as_mut_ptr();
            let meta = gst::ffi::gst_buffer_get_meta(buffer, (*info()).api);
            let own = meta.cast::<Own>().as_ref()?;
            Some((own.byte, own.length))
        }
    }

    #[test]
    fn metas_that_an_application_can_write_and_read_cross_whatever_their_size() {
        for (byte, length) in [(0, 0), (7, 1), (9, 10 << 20)] {
            let mut extra = Vec::new();
            serialize(&with(byte, length), None, true, &mut extra);
            let mut received = gst::Buffer::new();
            quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(())));
            assert_eq!(own(&received), Some((byte, length)));
        }
    }

    #[test]
    fn no_byte_of_one_gets_to_another_function() {
        let mut extra = Vec::new();
        serialize(&with(7, 5), None, true, &mut extra);
        for at in 0..extra.len() {
            for value in 0..=255 {
                let mut changed = extra.clone();
                changed[at] = value;
                let mut received = gst::Buffer::new();
                quietly(|| {
                    let _ = attach(received.make_mut(), &changed, None);
                });
            }
        }
    }

    #[test]
    fn gstreamers_own_functions_read_nothing_of_a_producers() {
        info();
        let mut other = gst::Buffer::new();
        let caps = gst::Caps::new_empty_simple("timestamp/x-ntp");
        let time = gst::ClockTime::SECOND;
        gst::meta::ReferenceTimestampMeta::add(other.make_mut(), &caps, time, None);
        let mut bytes = Vec::new();
        let meta = other.iter_meta::<gst::Meta>().next().unwrap();
        meta.serialize(&mut bytes).unwrap();
        assert_eq!(name(&bytes), Some("GstReferenceTimestampMeta"));
        let extra = record(REGISTERED, |body| {
            body.raw(&bytes);
            Some(())
        });
        let mut received = gst::Buffer::new();
        assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
        assert_eq!(received.iter_meta::<gst::Meta>().count(), 0);
    }
}
