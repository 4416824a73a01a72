//! A frame's bytes, without a reference to them.
//!
//! The bytes are memory of another process. xmem's producer does not write them while there is a
//! lease, but another could, and a reference of Rust promises the compiler that they do not change. So
//! bytes are copied and elements are read one by one, through raw pointers. A caller that trusts the
//! producer gets a slice with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use zerocopy::IntoBytes;

use crate::dtype::Element;
use crate::sys::mapping::Mapping;

pub(crate) mod view;

/// A frame's bytes, to read. Only copies of them leave it, because another process can write them.
///
/// # Examples
///
/// ```
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("payload.sock"));
/// # let publisher = Publisher::builder(channel.clone()).open()?;
/// # let mut subscriber = Subscriber::builder(channel).connect()?;
/// # let mut frame = publisher.acquire(13)?;
/// # frame.payload()?.write(0, b"head and body");
/// # frame.publish()?;
/// let frame = subscriber.receive(None)?;
/// let payload = frame.payload()?;
/// let mut head = [0; 4];
/// payload.read(0, &mut head);
/// assert_eq!(&head, b"head");
/// // To a file, a pipe or a socket, without a copy in this process.
/// payload.write_to(&std::fs::File::create("/dev/null").unwrap()).unwrap();
/// # Ok(())
/// # }
/// ```
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
    #[must_use]
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

    /// Writes all bytes to a file, a pipe or a socket. The kernel reads them where they are.
    ///
    /// # Errors
    /// The system's answer. Some bytes may have been written. A socket or pipe that does not block
    /// answers [`WouldBlock`](io::ErrorKind::WouldBlock) where it takes no more.
    pub fn write_to(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd();
        let written = transfer(self.len, |done| {
            // SAFETY: `done` is at most `len`, so the range is inside the mapped frame (type
            // invariant). The kernel only reads it, and the descriptor is borrowed for the call.
            unsafe { libc::write(fd.as_raw_fd(), self.start.add(done).cast(), self.len - done) }
        })?;
        if written < self.len {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// The element at `at`, in bytes. It may be unaligned.
    ///
    /// # Panics
    /// Where it is not inside the frame.
    pub(crate) fn element<T: Element>(&self, at: usize) -> T {
        let end = at.checked_add(size_of::<T>());
        assert!(end.is_some_and(|end| end <= self.len));
        // SAFETY: the element is inside the mapped frame (checked above, type invariant). It may be
        // unaligned, which `read_unaligned` allows, and any bit pattern is a `T`, because `Element` is
        // sealed to number types that zerocopy reads from bytes. No reference to it is made.
        unsafe { ptr::read_unaligned(self.start.add(at).cast::<T>()) }
    }
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len)
    }
}

/// A frame's bytes, to write before the frame is published.
///
/// # Examples
///
/// ```
/// # use xmem_core::{Channel, Publisher};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("payload.sock"));
/// # let publisher = Publisher::builder(channel).open()?;
/// let mut frame = publisher.acquire(4096)?;
/// let payload = frame.payload()?;
/// payload.write_elements(&[0.5f32, 1.5]);
/// payload.write(8, b"text");
/// // From a file, a pipe or a socket, without a copy in this process.
/// payload.read_from(&std::fs::File::open("/dev/zero").unwrap()).unwrap();
/// # Ok(())
/// # }
/// ```
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
        self.write(0, from.as_bytes());
    }

    /// Fills the frame with what a file, a pipe or a socket has. The kernel writes it where it belongs.
    /// Returns how many bytes there were: fewer than the frame has at the end of the file.
    ///
    /// # Errors
    /// The system's answer. Some bytes may have been written. A socket or pipe that does not block
    /// answers [`WouldBlock`](io::ErrorKind::WouldBlock) where it has no more yet.
    pub fn read_from(&self, fd: impl AsFd) -> io::Result<usize> {
        let fd = fd.as_fd();
        transfer(self.len, |done| {
            // SAFETY: `done` is at most `len`, so the range is inside the mapped, writable frame (type
            // invariant), to which there is no reference. The descriptor is borrowed for the call.
            unsafe { libc::read(fd.as_raw_fd(), self.start.add(done).cast(), self.len - done) }
        })
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: all `len` bytes are mapped and writable (type invariant).
        unsafe { ptr::write_bytes(self.start, byte, self.len) }
    }
}

/// Calls until there are no more bytes, or the descriptor has no more. Says how many there were.
fn transfer(len: usize, mut call: impl FnMut(usize) -> isize) -> io::Result<usize> {
    let mut done = 0;
    while done < len {
        match usize::try_from(call(done)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bytes_go_through_a_pipe_and_back() {
        let (reader, writer) = io::pipe().unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                Payload::of_bytes(&bytes).write_to(&writer).unwrap();
                drop(writer);
            });
            let mut received = Vec::new();
            (&reader).read_to_end(&mut received).unwrap();
            assert!(received == bytes);
        });
        let closed = Payload::of_bytes(&bytes).write_to(&reader);
        assert!(closed.is_err());
    }
}
