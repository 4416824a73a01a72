//! What ends a process: a call in a child of `fork`, and memory of a device on the CPU.

use xmem_tests::driver::Library;

/// Calls a function without arguments in a child of `fork`.
pub fn call_in_child(library: &Library, function: &str) -> Result<u32, String> {
    if !library.has(function) {
        return Err(format!("no {function}"));
    }
    // SAFETY: the process has one thread that uses Rust's library, and the child only calls the
    // function and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = library.call(function, &[]).unwrap_or(255);
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

/// Reads one byte of memory with the CPU.
pub fn touch(address: u64) -> u8 {
    // SAFETY: none. The test shows that the process dies of it.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address as usize).read_volatile() }
}
