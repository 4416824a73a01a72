//! Copies from memory of a device to memory of a device.
#![allow(unsafe_code)]

use xmem_core::cuda::CudaError;

use super::context::Context;
use super::functions::{Copy2d, Side, unavailable};
use super::stream::Stream;

/// Rows of bytes in memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The address of the first row.
    pub(crate) address: u64,
    /// Bytes from one row to the next.
    pub(crate) pitch: usize,
}

impl Rows {
    fn side(self) -> Result<Side, CudaError> {
        let address = usize::try_from(self.address);
        let address = address.map_err(|_| unavailable("the address is of another machine"))?;
        Ok(Side::device(address, self.pitch))
    }
}

/// Puts a copy of `count` rows of `width` bytes on a stream, `None` for the default stream of the
/// context, and returns at once.
///
/// # Errors
/// [`CudaError::Failed`] has the answer of the driver. [`CudaError::Unavailable`] if the stream is of
/// another context.
///
/// # Safety
/// The rows on both sides must be memory that the context can use, and stay so until the copy is
/// done; `to` must be memory that the caller may write.
pub(crate) unsafe fn copy_rows(
    context: &Context,
    stream: Option<&Stream>,
    from: Rows,
    to: Rows,
    width: usize,
    count: usize,
) -> Result<(), CudaError> {
    let copy = Copy2d {
        from: from.side()?,
        to: to.side()?,
        width,
        rows: count,
    };
    let stream = context.stream_handle(stream)?;
    let _current = context.push()?;
    let library = context.library();
    // SAFETY: the caller promises the memory. The stream is of the context, which is current.
    let code = unsafe { (library.functions.copy)(&copy, stream) };
    library.check("cuMemcpy2DAsync", code)
}
