//! The CUDA driver as the dynamic linker finds it, for programs that call any of its functions.

// Functions of a C library.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};

/// The most arguments that a function of the driver has: those of `cuLaunchKernel`.
const MOST_ARGUMENTS: usize = 11;

/// Any function of the driver, with arguments that it may not have.
type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u32;
/// A function that takes a handle of legacy IPC by value.
type OpenFunction = unsafe extern "C" fn(*mut u64, Handle, u64) -> u32;

/// A handle of legacy IPC.
#[repr(C)]
struct Handle([u8; 64]);

/// The loaded driver.
#[derive(Debug)]
pub struct Library(*mut c_void);

// SAFETY: the handle is only used for lookups, which any thread may do.
unsafe impl Sync for Library {}
// SAFETY: as above.
unsafe impl Send for Library {}

impl Library {
    /// Loads the driver.
    ///
    /// # Errors
    /// What the dynamic linker says, if there is none.
    pub fn load() -> Result<Library, String> {
        // SAFETY: the name ends with a zero; the library's initialization has no requirements.
        let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err(error().unwrap_or_default());
        }
        Ok(Library(library))
    }

    fn find(&self, function: &str) -> Result<*mut c_void, String> {
        let name = CString::new(function).map_err(|error| error.to_string())?;
        // SAFETY: the library is loaded and the name ends with a zero.
        let found = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if found.is_null() {
            return Err(format!("no {function}"));
        }
        Ok(found)
    }

    /// Whether the driver has a function.
    pub fn has(&self, function: &str) -> bool {
        self.find(function).is_ok()
    }

    /// Calls a function. Returns its code.
    ///
    /// The caller passes what the function expects: nothing here checks it.
    ///
    /// # Errors
    /// If the driver has no such function.
    ///
    /// # Panics
    /// If there are more arguments than any function has.
    pub fn call(&self, function: &str, arguments: &[u64]) -> Result<u32, String> {
        let found = self.find(function)?;
        // SAFETY: all functions of the driver return a number and take numbers and pointers. Those that the
        // function does not have are in registers that it does not read, or on the stack of the caller, which
        // removes them.
        let function: Function = unsafe { std::mem::transmute(found) };
        let mut all = [0; MOST_ARGUMENTS];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f, g, h, i, j, k] = all;
        // SAFETY: the caller's.
        Ok(unsafe { function(a, b, c, d, e, f, g, h, i, j, k) })
    }

    /// Calls a function that opens a handle. Returns its code and the address or event.
    ///
    /// # Errors
    /// If the driver has no such function.
    pub fn open(&self, function: &str, handle: [u8; 64]) -> Result<(u32, u64), String> {
        let found = self.find(function)?;
        // SAFETY: the function has these arguments, or not the last.
        let function: OpenFunction = unsafe { std::mem::transmute(found) };
        let mut output = 0;
        // SAFETY: the output can be written.
        let code = unsafe { function(&raw mut output, Handle(handle), 1) };
        Ok((code, output))
    }

    /// Copies from a device. Returns the code.
    ///
    /// # Errors
    /// If the driver has no such function.
    pub fn download(&self, content: &mut [u8], address: u64) -> Result<u32, String> {
        let target = content.as_mut_ptr().expose_provenance() as u64;
        let size = content.len() as u64;
        self.call("cuMemcpyDtoH_v2", &[target, address, size])
    }

    /// Copies to a device, on a stream. Returns the code.
    ///
    /// # Errors
    /// If the driver has no such function.
    pub fn upload(&self, address: u64, content: &[u8], stream: u64) -> Result<u32, String> {
        let source = content.as_ptr().expose_provenance() as u64;
        let size = content.len() as u64;
        self.call("cuMemcpyHtoDAsync_v2", &[address, source, size, stream])
    }
}

/// The error of the dynamic linker.
fn error() -> Option<String> {
    // SAFETY: the result is null or a text that ends with a zero.
    let text = unsafe {
        let text = libc::dlerror();
        (!text.is_null()).then(|| CStr::from_ptr(text))
    };
    text.map(|text| text.to_string_lossy().into_owned())
}
