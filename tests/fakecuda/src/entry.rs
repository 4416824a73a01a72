//! What all functions of the driver have in common: the checks before, the log after.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::result::{Code, Result};
use crate::{context, driver, faults, log, settings};

/// What a function needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// `cuInit` was called, by this process and not by one that it was forked from.
    Start,
    /// That, and the current context, if there is one, has no error.
    Health,
    /// That, and there is a current context.
    Context,
}

/// Runs a function of the driver. No panic passes to the caller.
pub fn call(
    name: &'static str,
    need: Need,
    body: impl FnOnce() -> Result,
    log_arguments: impl FnOnce(bool, &mut String),
) -> u32 {
    let result = catch_unwind(AssertUnwindSafe(|| checked(name, need, body)));
    let result = result.unwrap_or(Err(Code::UNKNOWN));
    if log::is_on() {
        let mut fields = String::new();
        log_arguments(result.is_ok(), &mut fields);
        log::call(name, result, &fields);
    }
    Code::number(result)
}

fn checked(name: &'static str, need: Need, body: impl FnOnce() -> Result) -> Result {
    let settings = settings::get().ok_or(Code::UNKNOWN)?;
    if need != Need::Nothing {
        // The lock may have been held when the process was forked.
        if driver::is_forked() || !driver::is_started() {
            return Err(Code::NOT_INITIALIZED);
        }
        match need {
            Need::Context => driver::lock().current().map(|_| ())?,
            Need::Health => driver::lock().health()?,
            _ => {}
        }
    }
    if let Some(code) = faults::of_call(settings, name) {
        if let Some(context) = context::current().filter(|_| code.is_sticky()) {
            driver::lock().end(context, code);
        }
        return Err(code);
    }
    body()
}

/// Defines functions of the driver: what each needs, its name, its arguments, and its body, which
/// returns a [`Result`]. The arguments are logged, and the results with them if it succeeds.
macro_rules! entry_points {
    ($(
        $(#[$attribute:meta])*
        $need:ident fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block
    )*) => {$(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> u32 {
            $crate::entry::call(
                stringify!($name),
                $crate::entry::Need::$need,
                || $body,
                |_is_ok, _line| {$(
                    if _is_ok || !<$type as $crate::abi::Logged>::IS_OUTPUT {
                        $crate::abi::Logged::log(&$argument, stringify!($argument), _line);
                    }
                )*},
            )
        }
    )*};
}
