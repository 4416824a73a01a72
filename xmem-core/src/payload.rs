//! Looking at a frame's bytes without ever making a reference to them.
//!
//! The bytes are memory of another process: a well-behaved producer leaves them alone as long as
//! there is a lease, but Rust's references promise more than that to the compiler. So bytes are
//! copied out and elements are read one by one, through raw pointers; a caller that trusts the
//! producer gets a slice with `unsafe`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;

use crate::dtype::{Element, MAX_NDIM};
use crate::error::{Error, Result};
use crate::meta::check_extent;
use crate::sys::mapping::Mapping;

/// A frame's bytes, to read.
///
/// Invariant, upheld by the constructors: `len` bytes from `start` stay mapped and readable for
/// `'a`.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    start: *const u8,
    len: usize,
    borrow: PhantomData<&'a ()>,
}

// SAFETY: the view only reads, which any thread may do at any time: the memory is shared with
// other processes anyway, and it stays mapped for `'a` whichever thread looks.
unsafe impl Send for Payload<'_> {}
// SAFETY: as above.
unsafe impl Sync for Payload<'_> {}

impl<'a> Payload<'a> {
    /// `len` bytes from `offset` of a mapping.
    ///
    /// # Panics
    /// Where the range is not inside the mapping: callers check what another process says.
    pub(crate) fn of(mapping: &'a Mapping, offset: usize, len: usize) -> Payload<'a> {
        Payload {
            start: mapping.range(offset, len),
            len,
            borrow: PhantomData,
        }
    }

    /// Bytes of this process, in the place of a frame's.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Payload<'a> {
        Payload {
            start: bytes.as_ptr(),
            len: bytes.len(),
            borrow: PhantomData,
        }
    }

    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first byte, for code that reads through pointers. It is valid as long
    /// as the frame, and this process can't write there: the mapping is read-only.
    pub fn as_ptr(&self) -> *const u8 {
        self.start
    }

    /// Copies bytes out, from `offset`.
    ///
    /// # Panics
    /// Where the range is not inside the frame.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(
            offset
                .checked_add(into.len())
                .is_some_and(|end| end <= self.len),
            "{} bytes at {offset} are not inside a frame of {}",
            into.len(),
            self.len
        );
        // SAFETY: the range is inside the mapped frame (checked above, type invariant), and `into`
        // is an exclusive borrow of as many bytes. It may itself be shared memory that is mapped,
        // which `copy` allows. Any bytes are valid `u8`.
        unsafe { ptr::copy(self.start.add(offset), into.as_mut_ptr(), into.len()) }
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// The bytes as a slice, for a caller that trusts the producer.
    ///
    /// # Safety
    /// The producer must not write the frame while the slice lives. xmem's own producer does not
    /// as long as the frame is held; a hostile one may.
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        // SAFETY: the bytes are mapped and readable for `'a` (type invariant), and unchanging for
        // as long (promised by the caller).
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// A view of elements at `strides` (bytes, outermost first) from `offset`: a plane of a
    /// planar picture, one image of a batch.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] where an element would be outside of the frame.
    pub fn view<T: Element>(
        &self,
        offset: usize,
        shape: &[u64],
        strides: &[u64],
    ) -> Result<View<'a, T>> {
        let left = self.len.checked_sub(offset).ok_or_else(|| {
            Error::InvalidShape(format!(
                "offset {offset} is beyond a frame of {} bytes",
                self.len
            ))
        })?;
        check_extent(shape, strides, size_of::<T>(), left as u64)?;
        let mut view = View {
            payload: *self,
            offset,
            ndim: shape.len(),
            shape: [0; MAX_NDIM],
            strides: [0; MAX_NDIM],
            element: PhantomData,
        };
        // Without elements no stride means anything, and it was not checked.
        let is_empty = shape.contains(&0);
        for (dimension, (&length, &stride)) in shape.iter().zip(strides).enumerate() {
            view.shape[dimension] = usize::try_from(length).unwrap_or(usize::MAX);
            view.strides[dimension] = if is_empty {
                0
            } else {
                usize::try_from(stride).unwrap_or(usize::MAX)
            };
        }
        Ok(view)
    }
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len)
    }
}

/// Elements of a frame by index, outermost dimension first.
///
/// Invariant, checked by [`Payload::view`]: every index inside `shape` lies, at `strides` from
/// `offset`, inside the payload.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    payload: Payload<'a>,
    offset: usize,
    ndim: usize,
    shape: [usize; MAX_NDIM],
    strides: [usize; MAX_NDIM],
    element: PhantomData<T>,
}

impl<'a, T: Element> View<'a, T> {
    /// Elements along each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.ndim]
    }

    /// Bytes from element to element along each dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.ndim]
    }

    /// The element at `index`; `None` where it is outside of the shape or has another number of
    /// dimensions.
    pub fn get(&self, index: &[usize]) -> Option<T> {
        if index.len() != self.ndim {
            return None;
        }
        let mut at = self.offset;
        for (&position, (&length, &stride)) in
            index.iter().zip(self.shape.iter().zip(self.strides.iter()))
        {
            if position >= length {
                return None;
            }
            at += position * stride;
        }
        Some(self.read_at(at))
    }

    /// The part of the view at `index` along the outermost dimension: one row of a picture, one
    /// image of a batch.
    pub fn at(&self, index: usize) -> Option<View<'a, T>> {
        if self.ndim == 0 || index >= self.shape[0] {
            return None;
        }
        let mut part = *self;
        part.offset += index * self.strides[0];
        part.ndim -= 1;
        part.shape.copy_within(1.., 0);
        part.strides.copy_within(1.., 0);
        Some(part)
    }

    /// The elements along the outermost dimension of a view with one dimension, or the only
    /// element of one with none; nothing for views with more.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        let view = *self;
        let count = match self.ndim {
            0 => 1,
            1 => self.shape[0],
            _ => 0,
        };
        (0..count).map(move |position| view.read_at(view.offset + position * view.strides[0]))
    }

    fn read_at(&self, at: usize) -> T {
        // SAFETY: `get` and `iter`, the only callers, pass the offset of an index that is below the
        // shape in each dimension. By `View`'s invariant, which `Payload::view` has checked, such an
        // element lies inside of the payload; and by `Payload`'s, that stays mapped for `'a`. It may
        // be unaligned, which `read_unaligned` allows, and any bit pattern is a `T`, because
        // `Element` is sealed to the number types. No reference to it is made.
        unsafe { ptr::read_unaligned(self.payload.start.add(at).cast::<T>()) }
    }
}

/// A frame's bytes, to write, before it is published.
///
/// Invariant, upheld by the constructor: `len` bytes from `start` stay mapped and writable for `'a`.
/// That no other thread of this process writes them meanwhile is up to the owner of the slot.
#[derive(Debug)]
pub struct PayloadMut<'a> {
    start: *mut u8,
    len: usize,
    borrow: PhantomData<&'a ()>,
}

impl<'a> PayloadMut<'a> {
    /// `len` bytes from `offset` of a mapping.
    ///
    /// # Panics
    /// Where the range is not inside the mapping, or the mapping is read-only.
    pub(crate) fn of(mapping: &'a Mapping, offset: usize, len: usize) -> PayloadMut<'a> {
        PayloadMut {
            start: mapping.range_mut(offset, len),
            len,
            borrow: PhantomData,
        }
    }

    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first byte, for code that writes through pointers: valid until the
    /// frame is published or dropped.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Copies bytes in, to `offset`.
    ///
    /// # Panics
    /// Where the range is not inside the frame.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(
            offset
                .checked_add(from.len())
                .is_some_and(|end| end <= self.len),
            "{} bytes at {offset} are not inside a frame of {}",
            from.len(),
            self.len
        );
        // SAFETY: the range is inside the mapped, writable frame (checked above, type invariant),
        // and `from` is a borrow of as many bytes. It may itself be shared memory that is mapped,
        // even a frame of this channel, which `copy` allows: a caller that borrows such memory has
        // promised that it does not change.
        unsafe { ptr::copy(from.as_ptr(), self.start.add(offset), from.len()) }
    }

    /// Copies elements in, from the frame's start.
    ///
    /// # Panics
    /// Where they are more than the frame has room for.
    pub fn write_elements<T: Element>(&self, from: &[T]) {
        // SAFETY: `T` is a number type (`Element` is sealed), so its bytes are all initialized,
        // and the slice covers exactly the borrowed elements.
        let bytes = unsafe {
            std::slice::from_raw_parts(from.as_ptr().cast::<u8>(), std::mem::size_of_val(from))
        };
        self.write(0, bytes);
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: all `len` bytes are mapped and writable (type invariant).
        unsafe { ptr::write_bytes(self.start, byte, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_view_walks_rows_with_padding() {
        // Two rows of three pixels of two bytes, four bytes of padding after each row.
        let bytes: Vec<u8> = (0..20).collect();
        let payload = Payload::of_bytes(&bytes);
        let view = payload.view::<u8>(0, &[2, 3, 2], &[10, 2, 1]).unwrap();
        assert_eq!(view.get(&[1, 2, 1]), Some(15));
        assert_eq!(view.get(&[2, 0, 0]), None);
        assert_eq!(view.get(&[0, 0]), None);
        let pixel = view.at(1).unwrap().at(0).unwrap();
        assert_eq!(pixel.iter().collect::<Vec<_>>(), [10, 11]);
        assert!(payload.view::<u32>(18, &[1], &[4]).is_err());
        assert!(payload.view::<u32>(21, &[], &[]).is_err());
        let unaligned = payload.view::<u32>(1, &[1], &[4]).unwrap();
        assert_eq!(unaligned.get(&[0]), Some(u32::from_le_bytes([1, 2, 3, 4])));
    }

    proptest! {
        #[test]
        fn no_view_leaves_the_payload(
            offset in 0usize..70, shape in proptest::collection::vec(0u64..9, 0..=MAX_NDIM),
            strides in proptest::collection::vec(0u64..40, 0..=MAX_NDIM)
        ) {
            let bytes = [0u8; 64];
            let payload = Payload::of_bytes(&bytes);
            if let Ok(view) = payload.view::<u16>(offset, &shape, &strides) {
                let last: Vec<usize> = view.shape().iter().map(|n| n.saturating_sub(1)).collect();
                let at: usize = last.iter().zip(view.strides()).map(|(i, s)| i * s).sum();
                if shape.contains(&0) {
                    prop_assert_eq!(view.get(&last), None);
                } else {
                    prop_assert!(offset + at + 2 <= 64);
                    prop_assert!(view.get(&last).is_some());
                }
            }
        }
    }
}
