//! Contexts, and the stack of each thread.

use std::cell::RefCell;

use crate::result::{Code, Result};

/// A context.
#[derive(Debug)]
pub struct Context {
    pub device: i32,
    pub is_primary: bool,
    pub flags: u32,
    /// The error that has ended it.
    pub error: Option<Code>,
    /// The stream behind handle 0.
    pub default_stream: usize,
    /// The stream of the records of `cuCtxRecordEvent`.
    pub marks: usize,
}

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The current context of this thread, which may have been destroyed.
pub fn current() -> Option<usize> {
    STACK.with_borrow(|stack| stack.last().copied())
}

/// Makes a context current, above the one before it.
pub fn push(context: usize) {
    STACK.with_borrow_mut(|stack| stack.push(context));
}

/// Removes the current context.
pub fn pop() -> Result<usize> {
    STACK.with_borrow_mut(Vec::pop).ok_or(Code::INVALID_CONTEXT)
}

/// Makes a context current in place of the one before it; or none.
pub fn replace(context: Option<usize>) {
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        stack.extend(context);
    });
}
