//! The driver, as the dynamic linker finds it.

use std::ffi::{CStr, CString, c_void};

/// The arguments that a call can have, all in registers.
pub const MOST_ARGUMENTS: usize = 6;

/// Any function of the driver, with arguments that it may not have.
type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64) -> u32;
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

impl Library {
    /// Loads the driver.
    ///
    /// # Panics
    /// If there is none.
    pub fn load() -> Library {
        // SAFETY: the name ends with a zero; the library's initialization has no requirements.
        let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "{:?}", error());
        Library(library)
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
    pub fn call(&self, function: &str, arguments: [u64; MOST_ARGUMENTS]) -> Result<u32, String> {
        let found = self.find(function)?;
        // SAFETY: all functions of the driver return a number and take numbers and pointers. These
        // are in registers, as are those that the function does not have, so it ignores them.
        let function: Function = unsafe { std::mem::transmute(found) };
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: the test passes what the function expects.
        Ok(unsafe { function(a, b, c, d, e, f) })
    }

    /// Calls a function that opens a handle. Returns its code and the address or event.
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
    pub fn download(&self, content: &mut [u8], address: u64) -> Result<u32, String> {
        let target = content.as_mut_ptr().expose_provenance() as u64;
        let size = content.len() as u64;
        self.call("cuMemcpyDtoH_v2", [target, address, size, 0, 0, 0])
    }

    /// Copies to a device, on a stream. Returns the code.
    pub fn upload(&self, address: u64, content: &[u8], stream: u64) -> Result<u32, String> {
        let source = content.as_ptr().expose_provenance() as u64;
        let size = content.len() as u64;
        self.call(
            "cuMemcpyHtoDAsync_v2",
            [address, source, size, stream, 0, 0],
        )
    }

    /// Calls a function in a child of `fork`.
    pub fn call_in_child(&self, function: &str) -> Result<u32, String> {
        self.find(function)?;
        // SAFETY: the process has one thread that uses Rust's library, and the child only calls the
        // function and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = self.call(function, [0; MOST_ARGUMENTS]).unwrap_or(255);
            // SAFETY: the call takes no pointer, and runs nothing of the parent.
            unsafe { libc::_exit(code as i32) };
        }
        let mut status = 0;
        // SAFETY: the status can be written.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if waited != child || !libc::WIFEXITED(status) {
            return Err(format!("the child ended with {status}"));
        }
        Ok(libc::WEXITSTATUS(status) as u32)
    }
}

/// Reads one byte of memory with the CPU.
pub fn touch(address: u64) -> u8 {
    // SAFETY: none. The test shows that the process dies of it.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address as usize).read_volatile() }
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
