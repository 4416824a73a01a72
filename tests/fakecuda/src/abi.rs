//! Types of the driver's C functions.
//!
//! Pointers of the caller are values of [`In`], [`Out`] and [`Text`]. Only a C caller makes them, so
//! its promise, that they are null or valid as the driver documents it, is all that their methods
//! need.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt::Write;

use crate::result::{Code, Result};
use crate::shared::HANDLE_SIZE;

/// A pointer to a value that the function reads.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct In<T>(*const T);

/// A pointer to a value that the function writes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

/// A pointer to a buffer for a text.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text(*mut c_char);

/// A pointer whose meaning depends on other arguments, or which is a number.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Raw(pub *mut c_void);

/// A handle of a context, stream, event or another object.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Object(pub usize);

/// `CUdeviceptr`
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Address(pub u64);

/// `CUmemGenericAllocationHandle`
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct AllocationHandle(pub u64);

/// `CUipcMemHandle` and `CUipcEventHandle`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct IpcHandle(pub [u8; HANDLE_SIZE]);

/// `CUuuid`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Uuid(pub [u8; 16]);

/// `CUmemLocation`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Location {
    pub kind: c_uint,
    pub id: c_int,
}

/// `CUmemAllocationProp`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Properties {
    pub kind: c_uint,
    pub handle_types: c_uint,
    pub location: Location,
    pub win32: Raw,
    pub flags: [u8; 8],
}

/// `CUmemAccessDesc`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Access {
    pub location: Location,
    pub flags: c_uint,
}

/// One side of a `CUDA_MEMCPY2D`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Side {
    pub x: usize,
    pub y: usize,
    pub kind: c_uint,
    pub host: Raw,
    pub device: Address,
    pub array: Raw,
    pub pitch: usize,
}

/// `CUDA_MEMCPY2D`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Copy2D {
    pub source: Side,
    pub target: Side,
    pub width: usize,
    pub height: usize,
}

impl<T: Copy> In<T> {
    /// The value.
    pub fn get(self) -> Result<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so the caller has promised that it is valid.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// So many values.
    pub fn list(self, count: usize) -> Result<Vec<T>> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so the caller has promised that this many are valid.
        Ok((0..count)
            .map(|at| unsafe { self.0.add(at).read_unaligned() })
            .collect())
    }
}

impl<T: Copy> Out<T> {
    /// Writes the value.
    pub fn set(self, value: T) -> Result {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        self.set_if_wanted(value);
        Ok(())
    }

    /// Writes the value, if the caller wants it.
    pub fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so the caller has promised that it is valid.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// The current value.
    fn peek(self) -> Option<T> {
        In(self.0.cast_const()).get().ok()
    }
}

impl Text {
    /// Writes a text that ends with a zero, or the beginning of it.
    pub fn set(self, text: &str, size: c_int) -> Result {
        let room = usize::try_from(size)
            .ok()
            .and_then(|size| size.checked_sub(1));
        let Some(room) = room.filter(|_| !self.0.is_null()) else {
            return Err(Code::INVALID_VALUE);
        };
        let length = text.len().min(room);
        // SAFETY: the caller has promised a buffer of this size, which is larger than the text.
        unsafe {
            self.0.copy_from(text.as_ptr().cast(), length);
            self.0.add(length).write(0);
        }
        Ok(())
    }
}

impl Raw {
    /// Writes a value of a type that other arguments determine.
    pub fn set<T: Copy>(self, value: T) -> Result {
        Out(self.0.cast::<T>()).set(value)
    }

    /// The address.
    pub fn address(self) -> u64 {
        self.0.expose_provenance() as u64
    }
}

/// How an argument is logged.
pub trait Logged {
    /// Whether the function writes it, so that it has a value only if the function succeeds.
    const IS_OUTPUT: bool = false;

    /// Appends ` name=value`, or nothing.
    fn log(&self, name: &str, line: &mut String);
}

/// Arguments that are written as they are, and others as numbers.
macro_rules! logged {
    ($($type:ty: |$value:ident| $format:literal, $shown:expr;)*) => {$(
        impl Logged for $type {
            fn log(&self, name: &str, line: &mut String) {
                let $value = self;
                // Writing to a string does not fail.
                let _ = write!(line, concat!(" {}=", $format), name.trim_start_matches('_'), $shown);
            }
        }
    )*};
}

logged! {
    c_int: |value| "{}", value;
    c_uint: |value| "{}", value;
    u8: |value| "{}", value;
    u16: |value| "{}", value;
    u64: |value| "{}", value;
    usize: |value| "{}", value;
    f32: |value| "{}", value;
    Object: |value| "{:#x}", value.0;
    Address: |value| "{:#x}", value.0;
    AllocationHandle: |value| "{:#x}", value.0;
}

/// Arguments that are not logged.
macro_rules! not_logged {
    ($($type:ty),*) => {$(
        impl Logged for $type {
            fn log(&self, _: &str, _: &mut String) {}
        }
    )*};
}

not_logged! { Text, Raw, IpcHandle, Uuid, *const c_char }

impl Logged for Location {
    fn log(&self, _: &str, line: &mut String) {
        self.id.log("device", line);
    }
}

impl Logged for Properties {
    fn log(&self, _: &str, line: &mut String) {
        self.location.log("location", line);
        self.handle_types.log("handle_types", line);
    }
}

impl Logged for Access {
    fn log(&self, _: &str, line: &mut String) {
        self.location.log("location", line);
        self.flags.log("access", line);
    }
}

impl Logged for Copy2D {
    fn log(&self, _: &str, line: &mut String) {
        let place = |side: &Side| match side.kind {
            2 => side.device.0,
            _ => side.host.address(),
        };
        self.width.log("width", line);
        self.height.log("height", line);
        Address(place(&self.source)).log("source", line);
        Address(place(&self.target)).log("target", line);
    }
}

impl<T: Copy + Logged> Logged for In<T> {
    fn log(&self, name: &str, line: &mut String) {
        if let Ok(value) = self.get() {
            value.log(name, line);
        }
    }
}

impl<T: Copy + Logged> Logged for Out<T> {
    const IS_OUTPUT: bool = true;

    fn log(&self, name: &str, line: &mut String) {
        if let Some(value) = self.peek() {
            value.log(name, line);
        }
    }
}
