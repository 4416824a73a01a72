//! [`View`]: a frame's elements by index.

use std::marker::PhantomData;

use zerocopy::IntoBytes;

use super::Payload;
use crate::dtype::{Element, MAX_NDIM};
use crate::error::{Error, Resource, Result};
use crate::meta::check_extent;
use crate::sys::limits;

impl<'a> Payload<'a> {
    /// A view of elements at `strides` (bytes, outermost first) from `offset` (bytes): a plane of a
    /// planar picture, one image of a batch.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] where an element would be outside of the
    /// frame.
    pub fn view<T: Element>(
        &self,
        offset: usize,
        shape: &[u64],
        strides: &[u64],
    ) -> Result<View<'a, T>> {
        View::new(*self, offset, shape, strides)
    }
}

/// The elements of a frame, or of a part of it, by index. Outermost dimension first.
///
/// A view reads the elements where they are, one by one; [`copy_to`](View::copy_to) and
/// [`to_vec`](View::to_vec) copy them out without the padding between rows.
///
/// # Examples
///
/// ```
/// # use xmem_core::{BufferMeta, Channel, DType, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("view.sock"));
/// # let publisher = Publisher::builder(channel.clone()).open()?;
/// # let mut subscriber = Subscriber::builder(channel).connect()?;
/// // Two rows of three elements, with two more as padding after each row.
/// let mut frame = publisher.acquire(20)?;
/// frame.payload()?.write_elements(&[1u16, 2, 3, 0, 0, 4, 5, 6, 0, 0]);
/// *frame.meta_mut() = BufferMeta::strided(DType::UInt16, &[2, 3], &[10, 2], 20)?;
/// frame.publish()?;
///
/// let frame = subscriber.receive(None)?;
/// let view = frame.view::<u16>()?;
/// assert_eq!(view.get(&[1, 2]), Some(6));
/// let sums: Vec<u16> = view.rows().map(|row| row.iter().sum()).collect();
/// assert_eq!(sums, [6, 15]);
/// assert_eq!(view.to_vec()?, [1, 2, 3, 4, 5, 6]);
/// # Ok(())
/// # }
/// ```
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
    /// As [`Payload::view`].
    pub(super) fn new(
        payload: Payload<'a>,
        offset: usize,
        shape: &[u64],
        strides: &[u64],
    ) -> Result<View<'a, T>> {
        let left = payload.len().checked_sub(offset).ok_or_else(|| {
            Error::InvalidShape(format!(
                "offset {offset} is beyond a frame of {} bytes",
                payload.len()
            ))
        })?;
        check_extent(shape, strides, size_of::<T>(), left as u64)?;
        let mut view = View {
            payload,
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

    /// Elements along each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.ndim]
    }

    /// Bytes from one element to the next along each dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.ndim]
    }

    /// How many elements there are: the product of the shape, 1 without dimensions. `None` where that is
    /// beyond `usize`, as it can be with a stride of 0.
    pub fn len(&self) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        let mut shape = self.shape().iter();
        shape.try_fold(1usize, |count, &length| count.checked_mul(length))
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape().contains(&0)
    }

    /// Whether the elements follow each other without a gap, the innermost dimension first.
    pub fn is_dense(&self) -> bool {
        let mut dense = size_of::<T>();
        let mut dimensions = self.shape().iter().zip(self.strides()).rev();
        dimensions.all(|(&length, &stride)| {
            let is_dense = length == 1 || stride == dense;
            dense = dense.saturating_mul(length);
            is_dense
        })
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
        Some(self.payload.element(at))
    }

    /// The part of the view at `index` along the outermost dimension: one row of a picture, one
    /// image of a batch. `None` without dimensions, or beyond the last one.
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

    /// The parts along the outermost dimension, in order: rows of a picture, images of a batch. Nothing
    /// for a view without dimensions.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = View<'a, T>> + use<'a, T> {
        let view = *self;
        let count = if self.ndim == 0 { 0 } else { self.shape[0] };
        (0..count).map(move |index| view.at(index).expect("it is below the length"))
    }

    /// All elements, the innermost dimension first. A view without dimensions has one.
    pub fn iter(&self) -> Elements<'a, T> {
        Elements {
            view: *self,
            index: [0; MAX_NDIM],
            at: self.offset,
            has_more: !self.is_empty(),
        }
    }

    /// Copies all elements, the innermost dimension first: without the padding that the strides skip.
    ///
    /// # Panics
    /// Where `into` has another number of elements.
    pub fn copy_to(&self, into: &mut [T]) {
        assert_eq!(
            self.len(),
            Some(into.len()),
            "as many elements as the view has"
        );
        if into.is_empty() {
            return;
        }
        if self.is_dense() {
            self.payload.read(self.offset, into.as_mut_bytes());
        } else if self.ndim == 1 {
            for (element, value) in into.iter_mut().zip(self) {
                *element = value;
            }
        } else {
            let chunk = into.len() / self.shape[0];
            for (row, chunk) in self.rows().zip(into.chunks_exact_mut(chunk)) {
                row.copy_to(chunk);
            }
        }
    }

    /// A copy of all elements, as [`copy_to`](View::copy_to) makes it.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for it: with a stride of 0 a small frame can
    /// have any number of elements.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let doing = || format!("copying the elements of {:?} {}", self.shape(), T::DTYPE);
        let count = self.len();
        let size = count.and_then(|count| count.checked_mul(size_of::<T>()));
        let (Some(count), Some(size)) = (count, size) else {
            let answer = std::io::ErrorKind::OutOfMemory.into();
            return Err(Error::exhausted(doing(), Resource::Memory, answer));
        };
        limits::check_copies(size).map_err(|error| error.doing(doing))?;
        let mut elements = vec![T::new_zeroed(); count];
        self.copy_to(&mut elements);
        Ok(elements)
    }
}

impl<'a, T: Element> IntoIterator for &View<'a, T> {
    type Item = T;
    type IntoIter = Elements<'a, T>;

    fn into_iter(self) -> Elements<'a, T> {
        self.iter()
    }
}

/// The elements of a [`View`], in the order of [`View::iter`].
#[derive(Clone, Debug)]
pub struct Elements<'a, T> {
    view: View<'a, T>,
    /// The index of the next element.
    index: [usize; MAX_NDIM],
    /// Where that is in the payload, in bytes.
    at: usize,
    has_more: bool,
}

impl<T: Element> Iterator for Elements<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if !self.has_more {
            return None;
        }
        let element = self.view.payload.element(self.at);
        self.has_more = false;
        for dimension in (0..self.view.ndim).rev() {
            let stride = self.view.strides[dimension];
            if self.index[dimension] + 1 < self.view.shape[dimension] {
                self.index[dimension] += 1;
                self.at += stride;
                self.has_more = true;
                break;
            }
            self.at -= self.index[dimension] * stride;
            self.index[dimension] = 0;
        }
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if !self.has_more {
            return (0, Some(0));
        }
        // How many come before the next one, and how many there are.
        let dimensions = self.index.iter().zip(self.view.shape());
        let before = dimensions.fold(0usize, |before, (&index, &length)| {
            before.saturating_mul(length).saturating_add(index)
        });
        match self.view.len() {
            Some(all) => (all - before, Some(all - before)),
            None => (1, None),
        }
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
        let all = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15];
        assert_eq!(view.iter().collect::<Vec<_>>(), all);
        assert_eq!(view.to_vec().unwrap(), all);
        assert!(payload.view::<u32>(18, &[1], &[4]).is_err());
        assert!(payload.view::<u32>(21, &[], &[]).is_err());
        let unaligned = payload.view::<u32>(1, &[1], &[4]).unwrap();
        assert_eq!(unaligned.get(&[0]), Some(u32::from_le_bytes([1, 2, 3, 4])));
    }

    #[test]
    fn a_view_of_more_elements_than_memory_has_is_not_copied() {
        let payload = Payload::of_bytes(&[7]);
        let vast = payload.view::<u8>(0, &[1 << 40, 1 << 40], &[0, 0]).unwrap();
        assert_eq!((vast.len(), vast.iter().next()), (None, Some(7)));
        assert!(matches!(
            vast.to_vec(),
            Err(Error::ResourceExhausted { .. })
        ));
        let large = payload.view::<u8>(0, &[1 << 60], &[0]).unwrap();
        assert!(large.to_vec().is_err());
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

        #[test]
        fn a_copy_has_what_the_iterator_has(
            shape in proptest::collection::vec(0u64..4, 0..=4), pad in 0u64..3, gap in 0u64..2,
        ) {
            let mut strides = vec![0; shape.len()];
            let mut stride = 2 * (1 + gap);
            for (dimension, &length) in shape.iter().enumerate().rev() {
                strides[dimension] = stride;
                stride = stride * length + pad;
            }
            let bytes: Vec<u8> = (0..=255).cycle().take(8192).collect();
            let payload = Payload::of_bytes(&bytes);
            let view = payload.view::<u16>(0, &shape, &strides).unwrap();
            let mut elements = view.iter();
            let mut all = Vec::new();
            while let (left, Some(element)) = (elements.size_hint().0, elements.next()) {
                prop_assert_eq!(left + all.len(), view.len().unwrap());
                all.push(element);
            }
            prop_assert_eq!(elements.size_hint(), (0, Some(0)));
            prop_assert_eq!(view.to_vec().unwrap(), all);
        }
    }
}
