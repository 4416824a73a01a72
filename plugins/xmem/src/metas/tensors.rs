//! GstTensorMeta: the input or output of a model.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use glib::translate::{IntoGlibPtr, from_glib_full, from_glib_none};
use gst::MetaRef;
use gst_analytics::TensorMeta;
use gst_analytics::ffi::{self, GstTensor};
use xmem_media::meta::{Tensor, Tensors};

use super::quark::{quark_of, text_of};
use super::unfit::{NotRead, Result, Unfit};
use crate::values::Rules;

/// The last element type that GStreamer defines.
const LAST_TYPE: i32 = if cfg!(feature = "v1_28") {
    21
} else {
    ffi::GST_TENSOR_DATA_TYPE_BFLOAT16
};

pub(super) fn write(meta: &MetaRef<'_, TensorMeta>) -> Option<Tensors> {
    // SAFETY: the meta is GStreamer's own, and lives as long as the reference to it.
    let meta = unsafe { &*meta.as_ptr() };
    let tensors = (0..meta.num_tensors).map(|at| {
        // SAFETY: GStreamer has so many pointers there, each to a tensor that lives and stays as it is
        // as long as the meta, or null.
        unsafe { TensorRef::new(*meta.tensors.add(at)) }?.to_media()
    });
    let tensors = tensors.collect::<Option<_>>()?;
    Some(Tensors { tensors })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: Tensors, rules: Rules<'_>) -> Result {
    let tensors = meta.tensors.into_iter().map(|of| Content::new(of, rules));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let mut meta = TensorMeta::add(buffer);
    if tensors.is_empty() {
        // GStreamer wants the pointers to be there also where there are none.
        // SAFETY: the memory has room for a pointer, and becomes the meta's, which has no tensors yet.
        unsafe {
            let pointers = glib::ffi::g_malloc0(size_of::<*mut GstTensor>());
            ffi::gst_tensor_meta_set(meta.as_mut_ptr(), 0, pointers.cast());
        }
    } else {
        meta.set(tensors.into_iter().map(Content::into_tensor).collect());
    }
    Ok(())
}

/// A tensor of GStreamer. Invariant, upheld by the caller of `new`: it is alive and unchanged for `'a`.
#[derive(Clone, Copy)]
pub(super) struct TensorRef<'a>(NonNull<GstTensor>, std::marker::PhantomData<&'a GstTensor>);

impl<'a> TensorRef<'a> {
    /// A tensor, or `None` for null.
    ///
    /// # Safety
    /// The pointer is null, or to a tensor that lives, and that nothing changes, for `'a`.
    pub(super) unsafe fn new(tensor: *const GstTensor) -> Option<TensorRef<'a>> {
        NonNull::new(tensor.cast_mut()).map(|tensor| TensorRef(tensor, std::marker::PhantomData))
    }

    fn head(self) -> &'a GstTensor {
        // SAFETY: by the invariant.
        unsafe { self.0.as_ref() }
    }

    fn dims(self) -> &'a [usize] {
        // SAFETY: by the invariant; a tensor has as many lengths as it says behind its head.
        unsafe {
            let dims = (&raw const (*self.0.as_ptr()).dims).cast();
            std::slice::from_raw_parts(dims, self.head().num_dims)
        }
    }

    /// `None` where it has no data, or another layout than one element after another.
    fn data(self) -> Option<gst::Buffer> {
        let head = self.head();
        if head.data.is_null() || head.layout != ffi::GST_TENSOR_LAYOUT_CONTIGUOUS {
            return None;
        }
        // SAFETY: by the invariant, and because it is not null, this is the tensor's buffer. It gets
        // another reference.
        Some(unsafe { from_glib_none(head.data) })
    }

    /// `None` where it is not whole, or cannot be read.
    pub(super) fn to_media(self) -> Option<Tensor> {
        let (head, data) = (self.head(), self.data()?);
        let mut bytes = Vec::with_capacity(data.size());
        for memory in data.iter_memories() {
            bytes.extend_from_slice(&memory.map_readable().ok()?);
        }
        let tensor = Tensor {
            id: text_of(head.id)?,
            data_type: head.data_type,
            order: head.dims_order,
            dims: self.dims().iter().map(|&dim| dim as u64).collect(),
            data: bytes.into(),
        };
        Some(tensor).filter(|tensor| is_known(tensor) && tensor.is_whole())
    }
}

/// Whether GStreamer knows such elements.
fn is_known(tensor: &Tensor) -> bool {
    tensor.data_type <= LAST_TYPE
}

/// What a tensor of GStreamer's is filled with: all of it has been checked.
pub(super) struct Content {
    id: glib::ffi::GQuark,
    data_type: i32,
    order: i32,
    dims: Vec<usize>,
    data: gst::Buffer,
}

impl Content {
    pub(super) fn new(from: Tensor, rules: Rules<'_>) -> Result<Content> {
        if !is_known(&from) {
            return Err(NotRead::Unknown);
        }
        let unfit = Unfit::Value("a tensor has more or fewer bytes than its dimensions say");
        from.is_whole().then_some(()).ok_or(unfit)?;
        let dims = from.dims.iter().map(|&dim| usize::try_from(dim));
        Ok(Content {
            id: quark_of(&from.id, rules)?,
            data_type: from.data_type,
            order: from.order,
            dims: dims
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| unfit)?,
            data: if from.data.is_empty() {
                gst::Buffer::new()
            } else {
                gst::Buffer::from_slice(from.data)
            },
        })
    }

    /// How many dimensions it has.
    pub(super) fn num_dims(&self) -> usize {
        self.dims.len()
    }

    fn into_tensor(self) -> gst_analytics::Tensor {
        // SAFETY: the memory is new, and has room for so many dimensions. Not all versions of GStreamer
        // clear it, so its data is, before it is filled.
        unsafe {
            let tensor = ffi::gst_tensor_alloc(self.num_dims());
            (*tensor).data = std::ptr::null_mut();
            self.fill(tensor);
            from_glib_full(tensor)
        }
    }

    /// Fills a tensor, whose buffer the data becomes.
    ///
    /// # Safety
    /// The pointer is to a tensor with room for [`num_dims`](Content::num_dims) dimensions, which has no
    /// data yet, and which nothing else uses.
    pub(super) unsafe fn fill(self, tensor: *mut GstTensor) {
        // SAFETY: as the caller promises.
        unsafe {
            (*tensor).id = self.id;
            (*tensor).layout = ffi::GST_TENSOR_LAYOUT_CONTIGUOUS;
            (*tensor).data_type = self.data_type;
            (*tensor).data = self.data.into_glib_ptr();
            (*tensor).dims_order = self.order;
            (*tensor).num_dims = self.dims.len();
            let dims: *mut usize = (&raw mut (*tensor).dims).cast();
            dims.copy_from_nonoverlapping(self.dims.as_ptr(), self.dims.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::attach;
    use super::super::kind::TENSORS;
    use super::super::tests::{record, sent_on};
    use super::*;

    #[test]
    fn a_meta_of_no_tensors_can_be_asked_for_them() {
        gst::init().unwrap();
        let extra = record(TENSORS, |body| {
            body.u32(0);
            Some(())
        });
        let mut received = gst::Buffer::new();
        assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
        let meta = received.meta::<TensorMeta>().unwrap();
        // SAFETY: the meta is GStreamer's own.
        assert!(!unsafe { (*meta.as_ptr()).tensors }.is_null());
        assert_eq!(sent_on(&extra), extra);
    }
}
