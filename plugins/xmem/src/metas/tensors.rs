//! GstTensorMeta: what a model has made of a picture, or is to be given.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib;
use gst::glib::translate::{IntoGlib, IntoGlibPtr};
use gst_analytics::TensorMeta;
use gst_analytics::ffi::{self, GstTensor};

use super::unfit::{NotRead, Result, Unfit};
use crate::values::{Decoder, Encoder, Rules};

/// Most tensors of a frame.
const MAX_TENSORS: usize = 1024;
/// Most dimensions of a tensor.
const MAX_DIMS: usize = 64;
/// The last type of elements that GStreamer knows.
const LAST_TYPE: i32 = match cfg!(feature = "v1_28") {
    true => 21,
    false => ffi::GST_TENSOR_DATA_TYPE_BFLOAT16,
};

/// `u32` tensors, and those.
pub(super) fn write(meta: &MetaRef<'_, TensorMeta>, body: &mut Encoder<'_>) -> Option<()> {
    // SAFETY: the meta is GStreamer's own. Its tensors are so many pointers, each to a tensor that
    // lives as long as the meta, or null.
    unsafe {
        let meta = &*meta.as_ptr();
        if meta.num_tensors > MAX_TENSORS {
            return None;
        }
        body.u32(meta.num_tensors as u32);
        (0..meta.num_tensors).try_for_each(|at| write_tensor(*meta.tensors.add(at), body))
    }
}

/// Text: what it is, empty where nobody says; `i32` type of its elements, order of its dimensions;
/// `u32` dimensions, those as `u64`; `u32` bytes, and those.
///
/// # Safety
/// The pointer is null, or to a tensor that nobody writes meanwhile.
pub(super) unsafe fn write_tensor(tensor: *const GstTensor, body: &mut Encoder<'_>) -> Option<()> {
    // SAFETY: as the caller promises. A tensor has a number of dimensions, and room for so many
    // behind it; its data is a buffer or null.
    unsafe {
        let head = tensor.as_ref()?;
        let dims = std::slice::from_raw_parts((&raw const (*tensor).dims).cast(), head.num_dims);
        if head.data.is_null() || head.layout != ffi::GST_TENSOR_LAYOUT_CONTIGUOUS {
            return None;
        }
        let data = gst::BufferRef::from_ptr(head.data);
        if !is_tensor(head.data_type, head.dims_order, dims, data.size()) {
            return None;
        }
        body.text(name_of(head.id)?)?;
        body.i32(head.data_type);
        body.i32(head.dims_order);
        body.u32(dims.len() as u32);
        for &dim in dims {
            body.u64(dim as u64);
        }
        body.u32(data.size().try_into().ok()?);
        for memory in data.iter_memories() {
            body.raw(&memory.map_readable().ok()?);
        }
    }
    Some(())
}

/// What a number that this process has given to a text stands for: empty for none, `None` where it
/// is not UTF-8.
pub(super) fn name_of(quark: glib::ffi::GQuark) -> Option<&'static str> {
    // SAFETY: the text of a number stays for ever. A number without a text has none.
    let text = unsafe {
        let text = glib::ffi::g_quark_to_string(quark);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
    };
    text.map_or(Some(""), |text| text.to_str().ok())
}

/// The number of a text, 0 for an empty one.
pub(super) fn read_name(body: &mut Decoder<'_>, rules: Rules<'_>) -> Result<glib::ffi::GQuark> {
    let name = body.text()?;
    match name.is_empty() {
        true => Ok(0),
        false if rules.names.admit(name) => Ok(glib::Quark::from_str(name).into_glib()),
        false => Err(NotRead::Unknown),
    }
}

/// Whether elements of this type, in these dimensions, have so many bytes.
fn is_tensor(data_type: i32, order: i32, dims: &[usize], size: usize) -> bool {
    let bits = match data_type {
        0 | 5 => 4,
        1 | 6 | 15 | 18..=21 => 8,
        2 | 7 | 10 | 13 => 16,
        3 | 8 | 11 => 32,
        4 | 9 | 12 | 16 => 64,
        17 => 128,
        // Texts, of any length.
        14 => 0,
        _ => return false,
    };
    // A dimension of 0 is one that is not known before: so many of what the others make.
    let mut known = dims.iter().filter(|&&dim| dim != 0);
    let all = known.try_fold(bits, |all: usize, &dim| all.checked_mul(dim));
    let times = |bits: usize| match dims.contains(&0) {
        true => Some(size.checked_mul(8)? / bits),
        false => Some(1),
    };
    let fits = |bits: usize| Some(bits.checked_mul(times(bits)?)?.div_ceil(8) == size);
    (0..=LAST_TYPE).contains(&data_type)
        && (0..=ffi::GST_TENSOR_DIM_ORDER_COL_MAJOR).contains(&order)
        && (1..=MAX_DIMS).contains(&dims.len())
        && (bits == 0 || all.and_then(fits).unwrap_or(false))
}

/// What was read of a tensor.
pub(super) struct Tensor {
    id: glib::ffi::GQuark,
    data_type: i32,
    order: i32,
    dims: Vec<usize>,
    data: gst::Buffer,
}

impl Tensor {
    /// How many dimensions it has.
    #[cfg(feature = "v1_28")]
    pub(super) fn num_dims(&self) -> usize {
        self.dims.len()
    }

    /// Writes it where there is room for it.
    ///
    /// # Safety
    /// The pointer is to a tensor with room for [`num_dims`](Tensor::num_dims) dimensions, which has
    /// no data yet, and which nobody else uses.
    pub(super) unsafe fn fill(self, tensor: *mut GstTensor) {
        // SAFETY: as the caller promises. The buffer becomes the tensor's.
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

pub(super) fn read_tensor(body: &mut Decoder<'_>, rules: Rules<'_>) -> Result<Tensor> {
    let broken = NotRead::Broken;
    let id = read_name(body, rules);
    let (data_type, order) = (body.i32()?, body.i32()?);
    let count = body.count(8)?;
    if count > MAX_DIMS {
        return Err(broken);
    }
    let dims = (0..count).map(|_| body.u64()?.try_into().map_err(|_| broken));
    let dims = dims.collect::<Result<Vec<_>>>()?;
    let bytes = body.blob()?;
    if data_type > LAST_TYPE {
        return Err(NotRead::Unknown);
    }
    if !is_tensor(data_type, order, &dims, bytes.len()) {
        return Err(
            Unfit::Value("a tensor has more or fewer bytes than its dimensions say").into(),
        );
    }
    let data = match bytes.is_empty() {
        true => gst::Buffer::new(),
        false => gst::Buffer::from_slice(bytes.to_vec()),
    };
    Ok(Tensor {
        id: id?,
        data_type,
        order,
        dims,
        data,
    })
}

pub(super) fn read(
    buffer: &mut gst::BufferRef,
    body: &mut Decoder<'_>,
    rules: Rules<'_>,
) -> Result {
    let count = body.count(24)?;
    if count > MAX_TENSORS {
        return Err(NotRead::Broken);
    }
    let tensors = (0..count).map(|_| read_tensor(body, rules));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    // SAFETY: the buffer can be written, for it is borrowed so, and gets the meta. Memory for each
    // tensor is made with room for its dimensions and cleared, and each is filled; memory for the
    // pointers is made for at least as many as there are. All of it becomes the meta's.
    unsafe {
        let meta = ffi::gst_buffer_add_tensor_meta(buffer.as_mut_ptr());
        let size = std::mem::size_of::<*mut GstTensor>();
        // GStreamer wants them to be there also where there are none.
        let room = tensors.len().max(1);
        let pointers: *mut *mut GstTensor = glib::ffi::g_malloc0_n(room, size).cast();
        for (at, tensor) in tensors.into_iter().enumerate() {
            let memory = ffi::gst_tensor_alloc(tensor.dims.len());
            // Not all versions clear it.
            (*memory).data = std::ptr::null_mut();
            tensor.fill(memory);
            *pointers.add(at) = memory;
        }
        ffi::gst_tensor_meta_set(meta, count as u32, pointers);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::attach;
    use super::super::kind::TENSORS;
    use super::super::tests::{record, sent_on};
    use super::*;

    #[test]
    fn a_tensor_has_as_many_bytes_as_its_dimensions_say() {
        let (int4, uint8) = (
            ffi::GST_TENSOR_DATA_TYPE_INT4,
            ffi::GST_TENSOR_DATA_TYPE_UINT8,
        );
        let (uint16, float32) = (
            ffi::GST_TENSOR_DATA_TYPE_UINT16,
            ffi::GST_TENSOR_DATA_TYPE_FLOAT32,
        );
        for (of, dims, size, expected) in [
            (float32, &[3, 4][..], 48, true),
            (float32, &[3, 4], 47, false),
            (int4, &[3, 5], 8, true),
            (int4, &[3, 5], 7, false),
            (uint8, &[usize::MAX, 2], 6, false),
            (uint8, &[usize::MAX / 4, 8], 0, false),
            (uint8, &[], 1, false),
            (uint8, &[1; 65], 1, false),
            // So many of what the other dimensions make.
            (uint16, &[0, 3], 12, true),
            (uint16, &[0, 3], 0, true),
            (uint16, &[0, 3], 10, false),
            (uint16, &[0, 0], 6, true),
            (int4, &[3, 0], 5, true),
            (int4, &[3, 0], 4, false),
            (float32, &[0, 1 << 20, 4], 64, false),
            (float32, &[0, usize::MAX, 4], 64, false),
            (-1, &[1], 1, false),
            (LAST_TYPE + 1, &[1], 1, false),
        ] {
            let order = ffi::GST_TENSOR_DIM_ORDER_ROW_MAJOR;
            assert_eq!(
                is_tensor(of, order, dims, size),
                expected,
                "{of} {dims:?} {size}"
            );
        }
    }

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
