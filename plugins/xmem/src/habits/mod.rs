//! Properties of shmsrc, shmsink, unixfdsrc, unixfdsink, cudaipcsrc and cudaipcsink that have no
//! effect in xmem's elements.
//!
//! A pipeline that was written for those elements sets these properties, and must work with xmem's
//! elements instead. So they exist here with the same types and defaults. A value other than the
//! default has no effect, and the element posts a message about it when it starts: an info message
//! if the pipeline works as well without it, a warning if the user asked for something that xmem
//! does not do.

mod note;
mod shared;
mod sink;
mod source;

pub(crate) use note::Note;
pub(crate) use sink::SinkHabits;
pub(crate) use source::SourceHabits;
